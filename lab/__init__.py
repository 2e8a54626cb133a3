"""N hosts on one Linux machine, joined like any other machines: a lab to run, break and mend.

    cluster.py          the lab as a whole: up, down, status, a node more or less, and what can be done to a host
    host.py             one host: network namespace, disk, Docker engine; looked up, never remembered
    engine.py           a host's Docker engine, with a mount namespace and a containerd of its own
    network.py          switch and cables; netns.py: network namespaces by name
    faults.py           plug out, cable out, freeze, kill -9
    processes.py        every process of a host, found without having been told; cgroups.py: its containers' cgroups
    images.py           the images of the examples, made from busybox
    state.py            what is remembered on disk, and where everything is
    leftovers.py        removing labs of tests that were interrupted
    limits.py, progress.py, tasks.py, errors.py

What runs on a host is started by bootstrap.
"""
