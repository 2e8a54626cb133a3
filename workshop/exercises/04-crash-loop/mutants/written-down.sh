# fails: config
# Runs, and nobody can change the greeting any more.
minikctl patch deploy/greeter --type json -p '[{"op": "replace",
  "path": "/spec/template/spec/containers/0/env", "value": [{"name": "GREETING", "value": "hello"}]}]'
minikctl rollout status deploy/greeter --timeout 60s
