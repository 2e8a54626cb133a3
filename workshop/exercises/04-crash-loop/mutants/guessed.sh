# fails: diagnosis
# Mends it without having looked: exit codes and waits that never were.
minikctl create configmap answers --from-literal exit-code=3 --from-literal back-off=7
minikctl patch deploy/greeter --type json -p '[{"op": "replace",
  "path": "/spec/template/spec/containers/0/env/0/valueFrom/configMapKeyRef/key", "value": "greeting"}]'
minikctl rollout status deploy/greeter --timeout 60s
