# fails: lossless
# Closes the shop, refurbishes it, and opens again.
minikctl scale deploy/web --replicas 0
minikctl wait pod/visitor --for condition=Ready=False --timeout 60s
minikctl set image deploy/web web=minik/web:2
minikctl scale deploy/web --replicas 3
minikctl rollout status deploy/web --timeout 90s
until [ "$(minikctl get pods -l app=web -o name | wc -l)" = 3 ]; do sleep 0.2; done
