"""What kubeadm is: makes one machine a control plane and others its nodes, and undoes it.

    init.py, join.py, join_control_plane.py, reset.py      the commands, each its own story from top to bottom
    cluster_config.py               what all machines of a cluster agree on, and where it is written
    options.py                      what they can be told: plain values and defaults, no I/O; limits.py: the rest
    commands.py                     where files lie, and the command line of every component
    preflight.py                    what a machine must have
    pki.py, credentials.py          the CA and every certificate; kubeconfig.py: the files that carry them
    tokens.py, discovery.py         bootstrap tokens, and trusting a cluster by its CA's hash
    etcd.py, upload_certs.py        the members of etcd, and how keys reach another control plane
    apiclient.py                    the few requests init and join make themselves
    supervisor.py, systemd.py       keeps a machine's components running, and who keeps that
    component.py                    one component, in the foreground
    errors.py                       one line that says what to do

Starts the components as processes and never imports them. The lab calls init and join like any machine.
"""
