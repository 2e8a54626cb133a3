# The exit code and the wait, from: minikctl why pod/POD
until WAIT=$(minikctl get pods -o yaml | sed -n 's/.*back-off \([0-9]*\)s restarting.*/\1/p'); [ -n "$WAIT" ]; do sleep 0.2; done
minikctl create configmap answers --from-literal exit-code=3 --from-literal back-off=${WAIT%%[!0-9]*}
# "GREETING is empty", says the log: the key was mistyped.
minikctl patch deploy/greeter --type json -p '[{"op": "replace",
  "path": "/spec/template/spec/containers/0/env/0/valueFrom/configMapKeyRef/key", "value": "greeting"}]'
minikctl rollout status deploy/greeter --timeout 60s
