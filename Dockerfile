# syntax=docker/dockerfile:1
# Docatlas in a container. The steps are the launcher's own: it makes the environment, and it starts the server.
#
#   docker build --tag docatlas .
#   docker run --publish 127.0.0.1:8000:8000 --volume docatlas-data:/data --volume docatlas-models:/models docatlas
#
# Torch is PyTorch's CPU build, because no NVIDIA driver is there during the build. For the one of pip's default index, with
# several gigabytes of CUDA, or for another index:
#   docker build --build-arg DOCATLAS_TORCH_INDEX=default --tag docatlas .
#   docker build --build-arg DOCATLAS_TORCH_INDEX=https://mirror.example.org/simple --tag docatlas .

# The operating system, Python, and Tesseract with its English and orientation data.
FROM python:3.11-slim-bookworm AS system
# Debian removes a version from its mirrors as soon as it has a fix, so pinned ones would soon fail to build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tesseract-ocr tesseract-ocr-eng tesseract-ocr-osd tini \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app

# The environment in /app/.venv, by the launcher: `--version` is the command that does nothing beside.
FROM system AS environment
ARG DOCATLAS_TORCH_INDEX=""
ENV DOCATLAS_TORCH_INDEX=$DOCATLAS_TORCH_INDEX
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip ./docatlas --version

FROM system AS server
ARG DOCATLAS_TORCH_INDEX=""
# The same as when the environment was made: by it the launcher knows that there is nothing left to install.
ENV DOCATLAS_TORCH_INDEX=$DOCATLAS_TORCH_INDEX
RUN useradd --system --create-home --uid 10001 docatlas \
    && install --directory --owner=docatlas --group=docatlas --mode=0700 /data /models
# Owned by root: the server cannot change its own program.
COPY --from=environment /app /app

# Inside a container loopback is out of reach from outside, so the server has to listen on every address, which it refuses
# without being told that this is wanted: nobody has to log in. Publish the port to loopback (as above) or to a network
# in which everybody may read everything. Names other than localhost go into DOCATLAS_ALLOWED_HOSTS.
ENV DOCATLAS_HOST=0.0.0.0 \
    DOCATLAS_ALLOW_REMOTE=true \
    DOCATLAS_PORT=8000 \
    DOCATLAS_DATA_DIR=/data \
    DOCATLAS_CACHE_DIR=/models \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001
VOLUME ["/data", "/models"]
EXPOSE 8000
# The first start fetches the text model, so it is given ten minutes before a failure counts.
HEALTHCHECK --interval=15s --timeout=5s --start-period=600s --retries=3 \
    CMD ["/app/.venv/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
# tini reaps the parsing processes whose parents have ended, and hands SIGTERM on to the server.
ENTRYPOINT ["tini", "--"]
CMD ["/app/docatlas", "serve"]
