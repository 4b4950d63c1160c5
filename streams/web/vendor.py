"""Makes ``vr/three.js`` again: the parts of three.js that the page in space uses, in one file.

    make vendor

It needs Node.js with npm, and the network; users need neither, since the file is in the tree. Both packages are pinned
and the result is compared with :data:`SHA256`: who changes a version or :data:`USED` changes the sum too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from avatar.errors import DeviceError, ModelFileError

THREE, ESBUILD = "0.187.0", "0.28.2"
SHA256 = "d236923ee6ec04f0593cba49c0200f50fbad7f2a97fd384604bcd29e5377c57c"
FILE = Path(__file__).resolve().parent / "vr" / "three.js"
USED = {
    "three": """
      ACESFilmicToneMapping BackSide BoxGeometry CanvasTexture Color CylinderGeometry DirectionalLight Euler Fog Group
      HemisphereLight LatheGeometry MathUtils Mesh MeshBasicMaterial MeshLambertMaterial MeshPhongMaterial
      MeshStandardMaterial PCFShadowMap
      PMREMGenerator PerspectiveCamera PlaneGeometry RepeatWrapping SRGBColorSpace Scene SphereGeometry Sprite
      SpriteMaterial Vector2 Vector3 WebGLRenderer""",
    "three/addons/controls/OrbitControls.js": "OrbitControls",
    "three/addons/loaders/GLTFLoader.js": "GLTFLoader",
}
"""Module -> what the page imports of it."""
_ARGUMENTS = (
    "--bundle", "--minify", "--format=esm", "--target=es2022", "--supported:template-literal=false",
    "--legal-comments=inline", "--log-level=warning",
)  # fmt: skip


def bundle(folder: Path) -> bytes:
    """The file's content, made in an empty folder. Raises DeviceError where npm is missing or fails."""
    npm = shutil.which("npm")
    if npm is None:
        raise DeviceError("npm is missing; install Node.js 20 or later")
    packages = {"private": True, "dependencies": {"three": THREE, "esbuild": ESBUILD}}
    (folder / "package.json").write_text(json.dumps(packages))
    lines = [f'export {{ {", ".join(names.split())} }} from "{module}";\n' for module, names in USED.items()]
    (folder / "used.js").write_text("".join(lines))
    _run([npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], folder)
    _run([str(folder / "node_modules" / ".bin" / "esbuild"), "used.js", *_ARGUMENTS, "--outfile=three.js"], folder)
    return (folder / "three.js").read_bytes()


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise DeviceError(f"{Path(command[0]).name} failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")


def main() -> None:
    """Write the file. Raises ModelFileError where what came out is not what was agreed."""
    with tempfile.TemporaryDirectory() as folder:
        content = bundle(Path(folder))
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ModelFileError(f"three.js came out as {found}, not {SHA256}; look at what changed, then set SHA256")
    FILE.write_bytes(content)


if __name__ == "__main__":
    main()
