FROM python:3.13.7-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app

COPY requirements.txt .
RUN pip install --require-hashes --only-binary=:all: -r requirements.txt

COPY . .

# The static files are part of the image; the key is needed to start Django and signs nothing here.
# The code belongs to root: the broker cannot change it.
RUN SECRET_KEY=only-while-building python manage.py collectstatic --no-input --verbosity=0 \
    && useradd --system --uid 10001 --no-create-home worklist
USER worklist

EXPOSE 8000 11112 2762

HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
    CMD ["python", "manage.py", "healthcheck", "--web"]

CMD ["gunicorn", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", \
     "--threads", "8", "--no-control-socket", "worklist.wsgi"]
