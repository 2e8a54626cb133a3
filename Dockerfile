# The image of docker-compose.dev.yml: what minik runs on, without minik itself, which comes from the checkout.
# BASE is any Debian or Ubuntu; what it has already is not installed again.
ARG BASE=debian:12
FROM ${BASE}
COPY scripts/common.sh /tmp/
RUN bash -c 'set -euo pipefail; . /tmp/common.sh; install_packages missing_packages; rm -rf /var/lib/apt/lists/*'
COPY requirements.lock /tmp/
RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir --no-deps -r /tmp/requirements.lock
RUN printf '#!/bin/sh\nexec python -P -m cli "$@"\n' > /usr/local/bin/minikctl && chmod 755 /usr/local/bin/minikctl \
    && ln -s /src/scripts/container /usr/local/bin/container
ENV PATH=/venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/src PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/src/scripts/container"]
