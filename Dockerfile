# syntax=docker/dockerfile:1
# The pipeline in a container, for training on a GPU or a CPU.
#
#   docker build -t masked-lm-pipeline .
#   docker build -t masked-lm-pipeline:cpu --build-arg BASE_IMAGE=python:3.11-slim --build-arg EXTRAS= .
#   docker run --rm --gpus all -v mlm-pipeline:/pipeline -v mlm-cache:/cache masked-lm-pipeline --runner local
#
# /pipeline holds the pipeline's root, /cache what is downloaded from the Hub. A token is given when it runs (-e HF_TOKEN),
# never when it is built.

# With Python 3.11 to 3.13, or Debian's or Ubuntu's packages of it. CUDA's libraries come with the extra `gpu`, so that
# they are those that TensorFlow was built with; the base has what the driver needs.
ARG BASE_IMAGE=nvidia/cuda:12.8.1-base-ubuntu24.04

# hadolint ignore=DL3006
FROM ${BASE_IMAGE} AS base
# hadolint ignore=DL3008
RUN if ! command -v python3 > /dev/null; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; \
    fi

FROM base AS build
# What setup.cfg has an extra for, with commas between; empty for none.
ARG EXTRAS=gpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
RUN python3 -m venv /opt/venv
# The libraries have a layer of their own, which a change of the code leaves as it is: they are what an empty project of
# this name requires.
COPY setup.cfg pyproject.toml constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    touch pipeline.py README.md LICENSE \
    && /opt/venv/bin/python -m pip install --constraint constraints.txt ".${EXTRAS:+[$EXTRAS]}"
COPY README.md LICENSE pipeline.py ./
COPY configs configs
COPY foundation foundation
COPY serving serving
COPY components components
COPY runners runners
COPY masked_lm_pipeline masked_lm_pipeline
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/python -m pip install --constraint constraints.txt --no-deps --force-reinstall .

FROM base
LABEL org.opencontainers.image.title="masked-lm-pipeline" \
      org.opencontainers.image.description="From a pile of text to a served masked language model, on TensorFlow" \
      org.opencontainers.image.licenses="Apache-2.0"
# Writable for all, so that `docker run --user` can have the files belong to somebody else.
RUN groupadd --gid 10001 pipeline \
    && useradd --uid 10001 --gid pipeline --create-home pipeline \
    && install --directory --owner pipeline --group pipeline --mode 1777 /pipeline /cache
COPY --from=build /opt/venv /opt/venv
# USER, because some libraries ask for the name of a user whom `docker run --user` made up.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/cache/huggingface \
    USER=pipeline
WORKDIR /pipeline
VOLUME ["/pipeline", "/cache"]
USER 10001:10001
# SIGTERM, which `docker stop` sends, writes a checkpoint first.
ENTRYPOINT ["masked-lm-pipeline"]
CMD ["--help"]
