from api import errors


def test_messages_are_those_kubernetes_users_know() -> None:
    assert errors.NotFound.of(qualified="pods", name="x").message == 'pods "x" not found'
    assert errors.AlreadyExists.of(qualified="deployments.apps", name="x").message == (
        'deployments.apps "x" already exists'
    )
    assert errors.Conflict.of(qualified="pods", name="x").message == (
        'Operation cannot be fulfilled on pods "x": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


def test_invalid_names_every_field() -> None:
    wrong = [
        errors.invalid("spec.replicas", -1, "must be greater than or equal to 0"),
        errors.required("spec.template.spec.containers"),
        errors.not_supported("spec.type", "Odd", ["B", "A"]),
    ]
    status = errors.Invalid.of(kind="Deployment", group="apps", name="web", errors=wrong).to_status()
    assert (status.code, status.reason, status.status) == (422, "Invalid", "Failure")
    assert status.message == (
        'Deployment.apps "web" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, '
        "spec.template.spec.containers: Required value, "
        'spec.type: Unsupported value: "Odd": supported values: "A", "B"]'
    )
    causes = status.details.causes
    assert [cause.field for cause in causes] == ["spec.replicas", "spec.template.spec.containers", "spec.type"]
    assert causes[0].reason == "FieldValueInvalid"
