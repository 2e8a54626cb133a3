"""One per node: turns pod specs into running containers and reports their status. The only one that talks to Docker.

The way of a pod, in reading order:

main.py            the boot story
limits.py          times and sizes, in one place
source.py          where pods come from
kubelet.py         follows this node's pods and the engine's containers; admission.py may turn a pod away
pods/worker.py     a pod's life: observe, plan, act, report; one worker a pod, on what state.py holds
pods/snapshot.py   all that is known of a pod at one moment (pure)
pods/plan.py       snapshot -> what to do next (pure)
pods/steps.py      doing it; env.py, container_spec.py, resources.py, ../images.py and ../objects.py help
pods/killing.py    ending a container
pods/probes.py     liveness, readiness and startup probes; hooks.py lifecycle hooks; handlers.py asks for both
pods/status.py     snapshot -> PodStatus (pure); reporter.py sends it
volumes/           what appears in containers from outside; pods/mounting.py keeps a pod's up to date

The node around it:

node.py       the Node object, its status and its lease; machine.py reads what the machine has
network.py    pod addresses (ipam.py), bridge, VXLAN and routes (links.py); overlay.py follows the Nodes
server.py     the HTTPS server the API server fetches logs from
runtime/      the contract with a container engine, and Docker behind it
"""
