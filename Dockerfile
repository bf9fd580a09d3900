# The image of poller: a virtual environment on a plain Python image, run by a user that is nobody else.
# PYTHON_IMAGE may be any image with Python 3.11 or newer, its venv and pip; pin it by digest where you build for others.
# Behind a mirror of the package index, pass its settings and certificates: --secret id=pip.conf,src=… --secret id=ca.pem,src=…
# (`cert = /run/secrets/ca.pem`). They are there while packages are fetched and in no layer.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /src
COPY requirements-build.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
 python3 -m venv /build \
 && /build/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY poller ./poller
RUN /build/bin/python -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir /wheel .

# Dependencies come before the program: a changed line of ours does not fetch them again. The environment has no pip of its own.
FROM ${PYTHON_IMAGE} AS environment
COPY requirements-image.lock /src/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
 python3 -m venv --without-pip /opt/poller \
 && python3 -m pip --python /opt/poller/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
      --require-hashes --only-binary :all: -r /src/requirements-image.lock
COPY --from=wheel /wheel /wheel
RUN python3 -m pip --python /opt/poller/bin/python install --no-cache-dir --disable-pip-version-check --no-compile \
      --no-deps --no-index /wheel/*.whl \
 && /opt/poller/bin/python -m compileall -q -j 0 /opt/poller/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="poller" \
      org.opencontainers.image.description="Polls phone systems for new calls and recordings and publishes each exactly once to Kafka." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
COPY --from=environment /opt/poller /opt/poller
# The folders that are written to, for a start without volumes. With a read-only root, mount something on each and on /tmp.
RUN mkdir -p /var/lib/poller /run/poller /etc/poller \
 && chown 10001:10001 /var/lib/poller /run/poller
# Nothing is written beside the program, logs are not held back, and each command finds the configuration.
ENV PATH=/opt/poller/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    POLLER_CONFIG=/etc/poller/poller.yaml \
    HOME=/tmp
USER 10001:10001
WORKDIR /var/lib/poller
EXPOSE 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/poller/bin/poller"]
CMD ["run", "--config", "/etc/poller/poller.yaml"]
