# The test client as the interop runner starts it: no arguments, environment only, as any user, with no
# writable home or working directory. Pure Python on wheels that exist for amd64 and arm64 alike.

FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
# The version comes from the newest tag; an exported tree has none, and then pyproject.toml's fallback is used.
ARG VERSION=
RUN if [ -n "$VERSION" ]; then export SETUPTOOLS_SCM_PRETEND_VERSION_FOR_PYTEST_MOQT="$VERSION"; fi \
    && pip wheel --no-cache-dir --quiet --wheel-dir /wheels .

FROM python:3.13-slim
COPY --from=build /wheels /wheels
# Compiled while installing: a start pays for no compilation and writes nothing.
RUN pip install --no-cache-dir --no-index --find-links /wheels --quiet --root-user-action=ignore --compile pytest-moqt \
    && rm -rf /wheels
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY entrypoint.py /app/
WORKDIR /app
USER 1000:65534
ENTRYPOINT ["python", "/app/entrypoint.py"]
