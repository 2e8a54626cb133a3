# fails: runs
# Waits one second longer before it kills.
minikctl patch deploy/shop -p '{"spec": {"template": {"spec": {"containers": [{"name": "shop",
  "livenessProbe": {"failureThreshold": 4}}]}}}}'
