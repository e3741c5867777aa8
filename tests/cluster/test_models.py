"""Where weights come from in an air-gapped cluster: a volume, or the image. And one checkpoint is for all of a Flow."""

from __future__ import annotations

from pathlib import Path

from jina import Client

from tests.cluster.kube import IMAGES, RELEASE, ROOT, VERSION, Namespace, run, until

DIM = 32  # of the random model
BAKED = "cluster-test.pt"


def info(namespace: Namespace) -> dict[str, object]:
    with namespace.forward(f"service/{RELEASE}-gateway", 8080) as (grpc,):
        return dict(Client(host=f"grpc://127.0.0.1:{grpc}").post("/info")[0].tags)


def on_claim(file: str) -> dict[str, object]:
    return {"model": {"name": f"/models/{file}", "source": "claim", "claim": "models"}}


def test_from_a_volume(namespace: Namespace, claim: str) -> None:
    namespace.install(on_claim("random.pt"))
    assert info(namespace)["dim"] == DIM
    assert "Succeeded" in namespace.helm("test", RELEASE)


def test_a_wrong_path_says_so_and_the_old_pods_keep_serving(namespace: Namespace, claim: str) -> None:
    old = namespace.ready("encoder")[0].metadata.name
    namespace.install(on_claim("nowhere.pt"), wait=False)

    says = "model '/models/nowhere.pt': no such file or folder"
    until("the container's last words", lambda: says in namespace.last_words("encoder"), 120)
    until("an event", lambda: any(event.startswith("BackOff") for event in namespace.events()), 60)
    assert [pod.metadata.name for pod in namespace.ready("encoder")] == [old]
    assert info(namespace)["dim"] == DIM
    namespace.helm("rollback", RELEASE, "1", "--wait", "--timeout", "3m")


def test_baked_into_the_image(namespace: Namespace, model: Path) -> None:
    image = f"{IMAGES['clip-image-encoder']}-baked"
    folder = ROOT / "models" / "baked"
    folder.mkdir(exist_ok=True)
    try:
        (folder / BAKED).write_bytes(model.read_bytes())
        run("make", "--silent", "images", f"MODEL={BAKED}", f"TAG={VERSION}-baked", cwd=ROOT, timeout=900)
    finally:
        (folder / BAKED).unlink()
    node = namespace.cluster.workers()[0]
    namespace.cluster.load(image, node)
    here = {"nodeSelector": {"kubernetes.io/hostname": node}, "image": {"tag": f"{VERSION}-baked"}}
    namespace.install({"executorDefaults": here, "model": {"name": f"/models/{BAKED}"}})
    assert info(namespace)["dim"] == DIM


def test_two_checkpoints_by_one_name_leave_the_gateway_unready_and_its_pod_says_why(
    namespace: Namespace, claim: str
) -> None:
    """The chart compares names; the gateway compares the weights."""
    namespace.helm("uninstall", RELEASE, "--wait")
    volume = {"extraVolumes": [{"name": "weights", "persistentVolumeClaim": {"claimName": claim}}]}
    mounts = {
        executor: [{"name": "weights", "mountPath": "/weights/random.pt", "subPath": file, "readOnly": True}]
        for executor, file in (("encoder", "random.pt"), ("text", "other/random.pt"))
    }
    own = {executor: {**volume, "extraVolumeMounts": mount} for executor, mount in mounts.items()}
    namespace.install({"flow": "clip", "model": {"name": "/weights/random.pt"}, "executors": own}, wait=False)
    until("the reason in the pod's status", lambda: "different checkpoints" in namespace.last_words("gateway"), 240)
    assert len(namespace.ready("encoder")) == len(namespace.ready("text")) == 1
    assert namespace.ready("gateway") == []
    assert "different checkpoints" in namespace.kubectl("describe", "pod", namespace.pods("gateway")[0].metadata.name)
