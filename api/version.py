"""The version of Kubernetes this API follows, as servers and nodes report it."""

KUBERNETES_VERSION = "v1.32.0+minik"
