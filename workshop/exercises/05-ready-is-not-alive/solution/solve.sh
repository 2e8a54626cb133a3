# Alive is one question, ready for customers another.
minikctl patch deploy/shop -p '{"spec": {"template": {"spec": {"containers": [{"name": "shop",
  "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
  "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}}]}}}}'
minikctl rollout status deploy/shop --timeout 90s
