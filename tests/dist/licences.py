#!/usr/bin/env python3
"""The licences of everything that a built moby holds of others, as one text.

    tests/dist/licences.py TARGET > THIRD-PARTY

What is linked in for TARGET: the dependencies of the program and those of the loaders inside of it, each with the licence files of
its own source, musl libc on musl targets, and the notices of Rust's standard library. A package without a licence file, and without
an expression whose text we have, is an error. The text depends on the lockfiles and the toolchain alone.
"""

import html.parser
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RULE = "=" * 100
LICENCE_FILE = re.compile(r"(licen[cs]e|unlicen[cs]e|copying|copyright|notice)", re.IGNORECASE)
# The loaders, and for which machine each is built (`boot/pack`).
LOADERS = [("moby-bios", "x86_64-unknown-none"), ("moby-boot-efi", "x86_64-unknown-uefi"), ("moby-boot-efi", "aarch64-unknown-uefi")]


def metadata(manifest, target):
    command = ["cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", target, "--manifest-path", manifest]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def linked(manifest, package, target):
    """The foreign packages in a program: what it depends on other than for its build and its tests."""
    graph = metadata(manifest, target)
    packages = {one["id"]: one for one in graph["packages"]}
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    [root] = [one["id"] for one in graph["packages"] if one["name"] == package and one["source"] is None]
    seen, todo = set(), [root]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            todo += [dep["pkg"] for dep in nodes[here]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
    return [packages[one] for one in seen if packages[one]["source"] is not None]


def texts(package):
    """The licence texts of a package, by the names of its files."""
    directory = pathlib.Path(package["manifest_path"]).parent
    found = sorted(path for path in directory.iterdir() if path.is_file() and LICENCE_FILE.match(path.name) and path.suffix != ".rs")
    if found:
        return [path.read_text(encoding="utf-8", errors="replace") for path in found]
    if "Apache-2.0" in (package["license"] or ""):
        return [(ROOT / "LICENSE-APACHE").read_text(encoding="utf-8")]
    sys.exit(f"{package['name']} {package['version']}: no licence file, and '{package['license']}' is none whose text is at hand")


class Text(html.parser.HTMLParser):
    """A page of HTML as plain text."""

    def __init__(self):
        super().__init__()
        self.parts = []

    def handle_starttag(self, tag, attrs):
        if tag in ("p", "h1", "h2", "h3", "h4", "pre", "details", "summary", "ul"):
            self.parts.append("\n")
        if tag == "li":
            self.parts.append("\n- ")

    def handle_data(self, data):
        self.parts.append(data)

    def text(self):
        lines = [line.rstrip() for line in "".join(self.parts).splitlines()]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def standard_library():
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.strip()
    page = Text()
    page.feed((pathlib.Path(sysroot) / "share/doc/rust/COPYRIGHT-library.html").read_text(encoding="utf-8"))
    return page.text()


def main(target):
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    packages = {}
    for manifest, name, of in [("Cargo.toml", "moby", target)] + [("boot/Cargo.toml", *loader) for loader in LOADERS]:
        for package in linked(ROOT / manifest, name, of):
            packages[package["name"], package["version"]] = package
    by_text = {}
    print("moby is under Apache-2.0 or MIT, as you like. It contains, under their own licences:\n")
    for (name, version), package in sorted(packages.items()):
        print(f"  {name} {version}: {package['license']}")
        for text in texts(package):
            by_text.setdefault(text.strip(), []).append(f"{name} {version}")
    print("  the standard library of Rust, and what that contains")
    if "musl" in target:
        print("  musl libc: MIT")
        by_text.setdefault((ROOT / "tests/dist/musl-copyright").read_text(encoding="utf-8").strip(), []).append("musl libc")
    for text, names in sorted(by_text.items(), key=lambda item: item[1]):
        print(f"\n{RULE}\n{', '.join(names)}\n{RULE}\n\n{text}")
    print(f"\n{RULE}\nthe standard library of Rust\n{RULE}\n\n{standard_library()}")


if len(sys.argv) != 2:
    sys.exit(__doc__)
main(sys.argv[1])
