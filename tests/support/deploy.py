"""Judges a file of deploy/ by what others say of it: Argo's own types (by hera), AWS's model of its interface (by botocore)."""
import json
import sys

import yaml


def lost(written, understood, at=""):
    """What one document has and the other has not: fields that the types do not know."""
    if isinstance(written, dict) and isinstance(understood, dict):
        for key, value in written.items():
            if key not in understood:
                yield f"{at}.{key} is unknown"
            else:
                yield from lost(value, understood[key], f"{at}.{key}")
    elif isinstance(written, list) and isinstance(understood, list):
        for number, (one, other) in enumerate(zip(written, understood)):
            yield from lost(one, other, f"{at}[{number}]")
    elif isinstance(written, dict) != isinstance(understood, dict) or str(written) != str(understood):
        yield f"{at} is {written!r}, understood as {understood!r}"


def argo(text):
    from hera.workflows.models import WorkflowTemplate

    written = yaml.safe_load(text)
    understood = WorkflowTemplate.model_validate(written).model_dump(by_alias=True, exclude_unset=True, mode="json")
    return list(lost(written, understood))


def batch(text):
    from botocore.session import Session
    from botocore.validate import ParamValidator

    shape = Session().get_service_model("batch").operation_model("RegisterJobDefinition").input_shape
    report = ParamValidator().validate(json.loads(text), shape)
    return [report.generate_report()] if report.has_errors() else []


kind, path = sys.argv[1:]
faults = {"argo": argo, "batch": batch}[kind](open(path).read())
print("\n".join(faults))
sys.exit(bool(faults))
