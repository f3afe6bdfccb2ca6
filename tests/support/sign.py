"""sign.py FORM REGISTRY REPOSITORY DIGEST SIGNED KEY: pushes a signature to where one of DIGEST stands, as cosign does with a key.

FORM is `simple`, an older signature, or `bundle`, one of cosign 3, whose envelope is securesystemslib's. What it signs is SIGNED, the same
digest unless somebody cheats.
"""

import base64
import hashlib
import json
import sys
import urllib.request

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

form, registry, repository, digest, signed, path = sys.argv[1:]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
with open(path, "rb") as file:
    key = serialization.load_pem_private_key(file.read(), None)


def request(method, url, body=None, kind="application/octet-stream"):
    if not url.startswith("http"):
        url = f"http://{registry}/v2/{repository}/{url}"
    return urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": kind}, method=method))


def descriptor(kind, body, **more):
    return {"mediaType": kind, "digest": "sha256:" + hashlib.sha256(body).hexdigest(), "size": len(body), **more}


def blob(kind, body, **more):
    of = descriptor(kind, body, **more)
    location = request("POST", "blobs/uploads/").headers["Location"]
    request("PUT", location + ("&" if "?" in location else "?") + "digest=" + of["digest"], body)
    return of


def push(name, kind, **fields):
    body = json.dumps({"schemaVersion": 2, "mediaType": kind, **fields}).encode()
    request("PUT", "manifests/" + name, body, kind)
    return descriptor(kind, body)


tag = digest.replace(":", "-")
if form == "simple":
    image = {"docker-manifest-digest": signed}
    critical = {"identity": {"docker-reference": repository}, "image": image, "type": "cosign container image signature"}
    payload = json.dumps({"critical": critical, "optional": None}).encode()
    signature = base64.b64encode(key.sign(payload, ec.ECDSA(hashes.SHA256()))).decode()
    annotations = {"dev.cosignproject.cosign/signature": signature}
    layer = blob("application/vnd.dev.cosign.simplesigning.v1+json", payload, annotations=annotations)
    config = blob("application/vnd.oci.image.config.v1+json", b'{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}')
    push(tag + ".sig", MANIFEST, config=config, layers=[layer])
else:
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": signed.removeprefix("sha256:")}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    }
    envelope = Envelope(json.dumps(statement).encode(), "application/vnd.in-toto+json", {})
    envelope.sign(CryptoSigner(key))
    envelope = envelope.to_dict()
    envelope["signatures"] = [{"sig": one["sig"]} for one in envelope["signatures"]]
    kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
    bundle = {"mediaType": kind, "verificationMaterial": {"publicKey": {"hint": ""}}, "dsseEnvelope": envelope}
    layer = blob(kind, json.dumps(bundle).encode())
    config = blob("application/vnd.oci.empty.v1+json", b"{}")
    fields = {"artifactType": kind, "config": config, "layers": [layer]}
    body = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, **fields}).encode()
    of = push("sha256:" + hashlib.sha256(body).hexdigest(), MANIFEST, **fields)
    push(tag, "application/vnd.oci.image.index.v1+json", manifests=[{**of, "artifactType": kind}])
