"""The storage host: network disks for the class `shared`, and who may use which.

    disks.py         the disks (files) and their sessions: one server process, one key, one node
    provisioner.py   claims -> disks and PersistentVolumes; released volumes -> nothing
    attacher.py      VolumeAttachments -> sessions; a session that ended cannot be taken up again
    main.py          the boot story

To the cluster this is the controller's half of a CSI driver: what Kubernetes' external-provisioner and
external-attacher do together with a vendor's plug-in. The nodes' half is kubelet/volumes/disk.py.
"""
