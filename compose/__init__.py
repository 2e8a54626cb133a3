"""From Docker Compose to Kubernetes: Compose files in, the manifests a person would write out. No cluster, no network.

    project.py       what `docker compose config` does: files, .env, include, extends, merging, profiles -> Project
      document.py    YAML that remembers its lines        interpolate.py   ${VARIABLES} and .env files
      canonical.py   every short form in its long form     merge.py         a file over another
      schema.py      the official JSON schema (compose-spec.json)
    convert.py       Project -> Manifests, a service at a time
      pods.py, health.py   the pod of a service             storage.py      volumes, configs, secrets
      networks.py    Services, names, NetworkPolicies     order.py        who waits for whom
    report.py        what became of every key: exact, approximate or ignored
    render.py        Manifests -> YAML with comments

The Compose specification: https://github.com/compose-spec/compose-spec
"""
