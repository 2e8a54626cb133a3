# First the old version learns to be replaced: enough pods, ready when they say so, and a moment to take their leave.
minikctl patch deploy/web -p '{"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
  "template": {"spec": {"terminationGracePeriodSeconds": 10, "containers": [{"name": "web",
  "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
  "lifecycle": {"preStop": {"exec": {"command": ["sleep", "3"]}}}}]}}}}'
minikctl rollout status deploy/web --timeout 90s
until [ "$(minikctl get pods -l app=web -o name | wc -l)" = 3 ]; do sleep 0.2; done
# The visitor has to be at the door again before the roll that counts.
minikctl wait pod/visitor --for condition=Ready --timeout 60s
minikctl set image deploy/web web=minik/web:2
minikctl rollout status deploy/web --timeout 90s
until [ "$(minikctl get pods -l app=web -o name | wc -l)" = 3 ]; do sleep 0.2; done
