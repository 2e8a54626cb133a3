# fails: warm
# Asks whether the process lives, and opens the doors on that.
minikctl patch deploy/shop -p '{"spec": {"template": {"spec": {"containers": [{"name": "shop",
  "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
  "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}}]}}}}'
minikctl rollout status deploy/shop --timeout 90s
