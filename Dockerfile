# Two images: the broker, which is web, DICOM server and commands in one, and the proxy before it.
# Their files belong to root and are read alone; docs/install-docker.md says how they are run.

FROM python:3.13.7-slim-bookworm AS packages

WORKDIR /app
COPY requirements.txt ./
# Without what would install more. pynetdicom's own applications write to paths that a peer names:
# nothing here uses them, and they are not in the image.
RUN python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary=:all: --requirement requirements.txt \
    && rm -r /venv/lib/python3*/site-packages/pynetdicom/apps

FROM python:3.13.7-slim-bookworm AS broker

ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /app
COPY --from=packages /venv /venv
# What runs, by name: nothing else of a folder that holds secrets and databases.
COPY bootstrap.py gunicorn.conf.py manage.py LICENSE sbom.json ./
COPY worklist worklist
COPY dicomscp dicomscp
COPY templates templates
COPY static static
# The translations are there compiled, which the tests hold.
COPY locale locale
# The key is needed to start Django and signs nothing here.
RUN SECRET_KEY=only-while-building python manage.py collectstatic --no-input --verbosity=0
RUN python -m compileall -q worklist dicomscp
RUN useradd --system --uid 10001 --no-create-home worklist
USER 10001

EXPOSE 8000 11112 2762

HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
    CMD ["python", "manage.py", "healthcheck", "--web"]

CMD ["gunicorn", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", \
     "--threads", "8", "--graceful-timeout", "20", "--no-control-socket", "worklist.wsgi"]

FROM caddy:2.10.2-alpine AS proxy

COPY deploy/Caddyfile /etc/caddy/Caddyfile
# Its certificates and state, in a folder of its own that a volume takes over with its owner.
ENV XDG_DATA_HOME=/srv/state/data \
    XDG_CONFIG_HOME=/srv/state/config
RUN mkdir /srv/state && chown 10001:10001 /srv/state
USER 10001

EXPOSE 8080 8443
