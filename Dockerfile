# Two images from one file: `cuda` (the default) and `cpu`.
#   docker build -t repro --build-arg COMMIT="$(git describe --always --dirty --abbrev=40 --exclude '*')" .
#   docker run --gpus all -e HF_TOKEN --shm-size=8g -v "$PWD/data:/data" --user "$(id -u):$(id -g)" repro
# Base images are exact tags; `repro pin` looks up their digests and writes them here and into pins.json.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm
ARG CUDA_IMAGE=nvidia/cuda:13.0.2-base-ubuntu24.04

# --- cpu ---------------------------------------------------------------------------------------------------------------
# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS cpu-packages
# The locks alone decide versions: ignore constraints of the building machine's pip configuration
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/dev/null
COPY requirements /tmp/requirements
# The second index serves torch's CPU build; it is not needed if the first has it, as a mirror may
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r /tmp/requirements/tools.txt \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r /tmp/requirements/cpu.txt -r /tmp/requirements/tests.txt \
    && (/opt/venv/bin/pip install --no-deps -r /tmp/requirements/torch-cpu.txt \
    || /opt/venv/bin/pip install --no-deps -r /tmp/requirements/torch-cpu.txt --extra-index-url "${TORCH_INDEX}")
COPY . /opt/repro
ARG COMMIT=unknown
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation -e /opt/repro \
    && /opt/venv/bin/python -m compileall -q /opt/repro/repro \
    && echo "${COMMIT}" > /opt/repro/COMMIT \
    && chmod -R a+rX /opt/repro

# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS cpu
ARG BASE_IMAGE
ARG COMMIT=unknown
COPY --from=cpu-packages /opt/venv /opt/venv
COPY --from=cpu-packages /opt/repro /opt/repro
# The only folder that any user may write to; caches (HOME) and results are below it
RUN install -d -m 1777 /data
ENV PATH=/opt/venv/bin:$PATH HOME=/data/home USER=repro REPRO_OUT=/data/results \
    REPRO_IMAGE=cpu REPRO_BASE_IMAGE=${BASE_IMAGE} \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HF_HUB_DISABLE_TELEMETRY=1 DO_NOT_TRACK=1
LABEL org.opencontainers.image.title="distillability-repro" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision=${COMMIT} \
    org.opencontainers.image.base.name=${BASE_IMAGE} \
    org.opencontainers.image.licenses="Apache-2.0" \
    repro.torch="2.13.0+cpu" \
    repro.transformers="5.17.0" \
    repro.trl="1.16.0"
VOLUME ["/data"]
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["/opt/repro/container/entrypoint.sh"]
CMD ["repro", "run", "table2"]

# --- cuda --------------------------------------------------------------------------------------------------------------
# hadolint ignore=DL3006
FROM ${CUDA_IMAGE} AS cuda-base
# Triton compiles small programs at run time and needs a C compiler and Python's headers. Versions are those of the base's
# release: Ubuntu removes old ones from its archive, so exact pins would break the build.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-dev python3-venv gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

FROM cuda-base AS cuda-packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=/dev/null
COPY requirements /tmp/requirements
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r /tmp/requirements/tools.txt \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r /tmp/requirements/gpu.txt
COPY . /opt/repro
ARG COMMIT=unknown
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation -e /opt/repro \
    && /opt/venv/bin/python -m compileall -q /opt/repro/repro \
    && echo "${COMMIT}" > /opt/repro/COMMIT \
    && chmod -R a+rX /opt/repro

FROM cuda-base AS cuda
ARG CUDA_IMAGE
ARG COMMIT=unknown
COPY --from=cuda-packages /opt/venv /opt/venv
COPY --from=cuda-packages /opt/repro /opt/repro
# The only folder that any user may write to; caches (HOME) and results are below it
RUN install -d -m 1777 /data
# The container toolkit refuses an old driver with its own message; with this check off, `repro` says what to fix
ENV NVIDIA_DISABLE_REQUIRE=1
ENV PATH=/opt/venv/bin:$PATH HOME=/data/home USER=repro REPRO_OUT=/data/results \
    REPRO_IMAGE=cuda REPRO_BASE_IMAGE=${CUDA_IMAGE} \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HF_HUB_DISABLE_TELEMETRY=1 DO_NOT_TRACK=1
LABEL org.opencontainers.image.title="distillability-repro" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision=${COMMIT} \
    org.opencontainers.image.base.name=${CUDA_IMAGE} \
    org.opencontainers.image.licenses="Apache-2.0" \
    repro.torch="2.13.0" \
    repro.transformers="5.17.0" \
    repro.trl="1.16.0" \
    repro.vllm="0.31.0"
VOLUME ["/data"]
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["/opt/repro/container/entrypoint.sh"]
CMD ["repro", "run", "table2"]
