"""The project's settings, from the environment; each NAME may come as NAME_FILE, a file's path."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import tempfile
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from environ import FileAwareEnv

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

env = FileAwareEnv()


def _own_secret_key() -> str:
    """The key of this installation, made on the first start, kept in var/ for its owner alone."""
    path = VAR_DIR / "secret_key"
    if not path.exists():
        VAR_DIR.mkdir(exist_ok=True)
        # It is whole before it has its name: processes that start together all read one key.
        descriptor, unnamed = tempfile.mkstemp(dir=VAR_DIR, prefix="secret_key-")
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
        with suppress(FileExistsError):
            path.hardlink_to(unnamed)
        Path(unnamed).unlink()
    return path.read_text()


def _own_database() -> str:
    VAR_DIR.mkdir(exist_ok=True)
    return f"sqlite:///{VAR_DIR}/worklist.sqlite3"


DEBUG: bool = env.bool("DEBUG", default=False)
SECRET_KEY: str = env.str("SECRET_KEY", default="") or _own_secret_key()
# Earlier ones, which still hold for sessions and for what the audit trail was sealed with.
SECRET_KEY_FALLBACKS: list[str] = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
SITE_NAME: str = env.str("SITE_NAME", default="Worklist")
# Names the demo's accounts on the sign-in page; only `manage.py demo` sets it.
DEMO: bool = env.bool("DEMO", default=False)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "django_htmx",
    "worklist.audit",
    "worklist",
    "dicomscp",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "worklist.middleware.ProxyMiddleware",
    "worklist.middleware.RequestIdMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "worklist.middleware.LanguageMiddleware",
    "worklist.middleware.IdleMiddleware",
    "worklist.middleware.PrivateMiddleware",
    "worklist.views.account.SignInMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "worklist.urls"
WSGI_APPLICATION = "worklist.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "worklist.views.frame.frame",
            ],
            "builtins": ["django.templatetags.i18n", "worklist.templatetags.clerk"],
        },
    },
]

# --- database -------------------------------------------------------------------------------------

SQLITE_OPTIONS = {
    # IMMEDIATE: with deferred transactions most contended writes of WAL fail at once, whatever the
    # timeout. FULL: an acknowledged write survives a power cut. LIKE is case-sensitive, as on
    # PostgreSQL.
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": (
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
        "PRAGMA case_sensitive_like=ON;"
    ),
}
POSTGRES_OPTIONS = {
    # A database that is gone or hangs is noticed within seconds: the modality hears 0xA700.
    "connect_timeout": 2,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 5000,
    # Tells our writes, which keep the revisions of steps, from those of psql (worklist.shared); a
    # pooler between hands it on.
    "application_name": "worklist",
    # On a database that was never analysed PostgreSQL takes a small join for a large one, and
    # compiles it: seconds for each query, where reading takes a millisecond. What was answered
    # "saved" survives a power cut, however the server is set up. Django would ask for UTC.
    "options": "-c jit=off -c synchronous_commit=on -c TimeZone=UTC",
}


def _database(url: str) -> dict[str, Any]:
    config: dict[str, Any] = env.db_url_config(url)
    options: dict[str, Any] = SQLITE_OPTIONS
    if config["ENGINE"] != "django.db.backends.sqlite3":
        options = POSTGRES_OPTIONS
        config["ENGINE"] = "worklist.postgresql"
        # A page costs more in connecting than in reading: each web thread keeps its connection,
        # and one that died meanwhile is found before it is used.
        config = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True, **config}
    given: dict[str, Any] = config.get("OPTIONS", {})
    if "options" in given and "options" in options:
        # The server reads them from left to right: what the site says holds.
        given = {**given, "options": f"{options['options']} {given['options']}"}
    config["OPTIONS"] = {**options, **given}
    return config


DATABASES = {"default": _database(env.str("DATABASE_URL", default="") or _own_database())}
# A streaming replica of it, which the queries of scanners are read from, and nothing else. What it
# shows may be so many seconds old; past that, and when it is away, they are read from the other.
if replica_url := env.str("DATABASE_REPLICA_URL", default=""):
    DATABASES["replica"] = {**_database(replica_url), "TEST": {"MIRROR": "default"}}
DATABASE_REPLICA_LAG: float = env.float("DATABASE_REPLICA_LAG", default=5)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- people ---------------------------------------------------------------------------------------

AUTH_USER_MODEL = "worklist.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    # NIST SP 800-63B: length and a list of those that everybody takes; no rules of composition,
    # no date on which it ends.
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "worklist.rights.RightsBackend",
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
# Seconds without a sign of the person, the board's own refreshes not counted.
IDLE_SECONDS = 30 * 60
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
# With the session, not in a cookie of their own: notices name patients, and end with the session.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SESSION_COOKIE_AGE = 12 * 3600

# Ten failures lock a name at one address for a quarter of an hour: a colleague elsewhere goes on.
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = dt.timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "worklist.views.account.locked_out"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# --- language, time, files ------------------------------------------------------------------------

LANGUAGE_CODE: str = env.str("LANGUAGE_CODE", default="en")
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = ["worklist.formats"]
TIME_ZONE: str = env.str("TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [path for path in (BASE_DIR / "static",) if path.is_dir()]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# A body that says it is longer is not read: the largest form is a catalogue as CSV.
UPLOAD_MAX_BYTES = 5 * 1024 * 1024
FILE_UPLOAD_HANDLERS = [
    "worklist.uploads.BoundedUpload",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

# What stands between the cells of a CSV file; none: what is usual in the language of the screen.
CSV_SEPARATOR: str = env.str("CSV_SEPARATOR", default="").replace("tab", "\t")

# --- HTTPS ----------------------------------------------------------------------------------------

HTTPS: bool = env.bool("HTTPS", default=False)
SECURE_SSL_REDIRECT = HTTPS
# What watches the servers asks on this side of the proxy, and is not told anything of patients.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
# How many proxies stand in front, each of which adds an address to X-Forwarded-For: the trail and
# the lockout of sign-ins want that of who asks. Where none does, what it says is not believed.
PROXIES: int = env.int("PROXIES", default=0)
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
if HTTPS:
    # A browser takes these from this very host alone, over HTTPS alone.
    SESSION_COOKIE_NAME = "__Host-sessionid"
    CSRF_COOKIE_NAME = "__Host-csrftoken"
X_FRAME_OPTIONS = "DENY"
# Everything comes from here: no inline script or style, nothing from elsewhere, no frames.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }
}
CSRF_FAILURE_VIEW = "worklist.views.errors.csrf_failure"

# --- DICOM ----------------------------------------------------------------------------------------

AE_TITLE: str = env.str("AE_TITLE", default="WORKLIST")
DICOM_BIND: str = env.str("DICOM_BIND", default="0.0.0.0")
DICOM_PORT: int = env.int("DICOM_PORT", default=11112)
# Under which name and port scanners reach us, where that differs: printed for service engineers.
DICOM_PUBLIC_HOST: str = env.str("DICOM_PUBLIC_HOST", default="")
DICOM_PUBLIC_PORT: int = env.int("DICOM_PUBLIC_PORT", default=DICOM_PORT)
# Who may call: "known" are the stations that are set up; "any" is everybody, in a test network.
DICOM_ACCESS: str = env.str("DICOM_ACCESS", default="known")
# Whether a peer must call us by our own AE title.
DICOM_CHECK_CALLED_AE_TITLE: bool = env.bool("DICOM_CHECK_CALLED_AE_TITLE", default=False)
# Processes that serve the port (`runscp --workers`); the bounds below are each one's own.
DICOM_WORKERS: int = env.int("DICOM_WORKERS", default=1)
DICOM_MAX_ASSOCIATIONS: int = env.int("DICOM_MAX_ASSOCIATIONS", default=100)
# Bounds on peers: connections in all, from one address, in a TLS handshake at the same time.
DICOM_MAX_CONNECTIONS: int = env.int("DICOM_MAX_CONNECTIONS", default=500)
DICOM_MAX_CONNECTIONS_PER_ADDRESS: int = env.int("DICOM_MAX_CONNECTIONS_PER_ADDRESS", default=32)
DICOM_MAX_HANDSHAKES: int = env.int("DICOM_MAX_HANDSHAKES", default=128)
# Seconds: for a handshake; until a request is there as a whole, and any other PDU; for a peer to
# take what it is sent; until a silent association is ended.
DICOM_HANDSHAKE_SECONDS: float = env.float("DICOM_HANDSHAKE_SECONDS", default=5)
DICOM_REQUEST_SECONDS: float = env.float("DICOM_REQUEST_SECONDS", default=10)
DICOM_PDU_SECONDS: float = env.float("DICOM_PDU_SECONDS", default=10)
DICOM_SEND_SECONDS: float = env.float("DICOM_SEND_SECONDS", default=15)
DICOM_IDLE_SECONDS: float = env.float("DICOM_IDLE_SECONDS", default=300)
# Bytes of an A-ASSOCIATE-RQ, of a command set, of an Identifier; the least PDU a peer may ask for.
DICOM_REQUEST_BYTES: int = env.int("DICOM_REQUEST_BYTES", default=64 * 1024)
DICOM_COMMAND_BYTES: int = env.int("DICOM_COMMAND_BYTES", default=4 * 1024)
DICOM_IDENTIFIER_BYTES: int = env.int("DICOM_IDENTIFIER_BYTES", default=256 * 1024)
DICOM_MIN_PEER_PDU_BYTES: int = env.int("DICOM_MIN_PEER_PDU_BYTES", default=128)
# Presentation contexts of one request.
DICOM_MAX_CONTEXTS: int = env.int("DICOM_MAX_CONTEXTS", default=128)
# Whether responses are written and sent the library's way: slower, and a check on ours.
DICOM_PLAIN_PATH: bool = env.bool("DICOM_PLAIN_PATH", default=False)
# A second port that wants TLS (2762 is the registered one); 0: none. The others are paths of files.
DICOM_TLS_PORT: int = env.int("DICOM_TLS_PORT", default=0)
DICOM_TLS_CERT: str = env.str("DICOM_TLS_CERT", default="")
DICOM_TLS_KEY: str = env.str("DICOM_TLS_KEY", default="")
DICOM_TLS_CA: str = env.str("DICOM_TLS_CA", default="")
# Whether callers show a certificate that DICOM_TLS_CA vouches for: required, optional or off.
DICOM_TLS_CLIENT: str = env.str("DICOM_TLS_CLIENT", default="required")
# Matches in one answer; past it the query is refused (0xA700), since a list cut in silence hides
# a patient.
DICOM_MATCH_LIMIT: int = env.int("DICOM_MATCH_LIMIT", default=5000)
# Queries that read the database at the same time; the others wait for their turn.
DICOM_DATABASE_CONNECTIONS: int = env.int("DICOM_DATABASE_CONNECTIONS", default=8)

# --- audit trail ----------------------------------------------------------------------------------

# What the audit trail's events are marked and sealed with; by default it is drawn from SECRET_KEY.
AUDIT_KEY: str = env.str("AUDIT_KEY", default="")
# Whether `migrate` has the database refuse changes of the trail; the tests' own rows have to go.
AUDIT_GUARD = True
# A syslog collector of audit messages (TLS); `manage.py send_audit` sends them. No host: none.
AUDIT_SYSLOG_HOST: str = env.str("AUDIT_SYSLOG_HOST", default="")
AUDIT_SYSLOG_PORT: int = env.int("AUDIT_SYSLOG_PORT", default=6514)
# Paths of PEM files: who may have signed the collector's certificate ("": the system's list), and
# our own certificate and key, where the collector asks for them.
AUDIT_SYSLOG_CA: str = env.str("AUDIT_SYSLOG_CA", default="")
AUDIT_SYSLOG_CERT: str = env.str("AUDIT_SYSLOG_CERT", default="")
AUDIT_SYSLOG_KEY: str = env.str("AUDIT_SYSLOG_KEY", default="")
# Whether each query of a scanner is an event of the trail (PS3.15 A.5.3.10), for good.
AUDIT_QUERIES: bool = env.bool("AUDIT_QUERIES", default=True)
# Days for which the journal of associations and queries is kept (`manage.py purge`).
JOURNAL_DAYS: int = env.int("JOURNAL_DAYS", default=30)

# Days after which an order whose exams are all over is deleted (`manage.py purge`); 0: never.
ORDER_DAYS: int = env.int("ORDER_DAYS", default=0)

# --- metrics --------------------------------------------------------------------------------------

# Addresses and networks that may read /metrics without signing in, if not by way of a proxy.
METRICS_ALLOW = [
    ip_network(each) for each in env.list("METRICS_ALLOW", default=["127.0.0.1", "::1"])
]

# --- patients -------------------------------------------------------------------------------------

# Who gives the patient IDs of this site (Issuer of Patient ID); others' are labelled.
ISSUER_OF_PATIENT_ID: str = env.str("ISSUER_OF_PATIENT_ID", default="")

# What is said of a pregnancy and radiation, and of a contrast agent and an allergy, in the site's
# own words, in which {patient}, {exam} and {allergies} are filled in; "": ours, in the person's
# language.
PREGNANCY_WARNING: str = env.str("PREGNANCY_WARNING", default="")
ALLERGY_WARNING: str = env.str("ALLERGY_WARNING", default="")

# The unit in which the site's laboratory tells a creatinine: mg/dL, or µmol/L.
CREATININE_UNIT: str = env.str("CREATININE_UNIT", default="mg/dL")

# --- logging --------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "worklist.logs.DiscreetFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO").upper()},
    # pynetdicom writes names at INFO and passwords at DEBUG; what matters of it we log ourselves.
    "loggers": {"pynetdicom": {"level": "CRITICAL"}, "pydicom": {"level": "ERROR"}},
}
