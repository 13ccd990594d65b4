# Runs a worker, or any other command (`docker run IMAGE enqueue …`), as an unprivileged user.
FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/oneshot-queue
ENV PATH=/opt/oneshot-queue/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements.txt ./
RUN pip install --only-binary :all: --constraint requirements.txt setuptools
COPY pyproject.toml README.md LICENSE ./
COPY oneshot_queue oneshot_queue
COPY workers workers
RUN pip install --only-binary :all: --constraint requirements.txt --no-build-isolation . \
    && pip uninstall --yes setuptools

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home oneshot
COPY --from=build /opt/oneshot-queue /opt/oneshot-queue
COPY deploy/worker_is_live.py /opt/oneshot-queue/
ENV PATH=/opt/oneshot-queue/bin:$PATH PYTHONUNBUFFERED=1
USER oneshot
WORKDIR /home/oneshot
ENTRYPOINT ["oneshot-queue"]
CMD ["worker"]
