"""Holds what Python believes of the library against csrnorm.h: every signature, struct and value.

Signatures are read from the header after the preprocessor; sizes, offsets and values are printed by a program in C.
"""

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from csrnorm import _library

INCLUDE = Path(__file__).parents[2] / "include"
COMPILER = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
ENUMS = ["Status", "Dtype", "Axis", "ScaleOp", "ZeroPolicy", "Backend", "Target"]
C_ENUMS = ["status", "dtype", "axis", "scale_op", "zero_policy", "backend", "target"]
STRUCTS = {
    "csr": "Csr", "allocator": "Allocator", "context_options": "ContextOptions",
    "normalize_options": "NormalizeOptions", "normalize_report": "NormalizeReport",
    "device_properties": "DeviceProperties",
}  # fmt: skip
SCALARS = {
    "void": None, "size_t": ctypes.c_size_t, "int32_t": ctypes.c_int32, "int64_t": ctypes.c_int64,
    "double": ctypes.c_double, "char*": ctypes.c_char_p,
}  # fmt: skip
#: Structs that are passed as such; any other pointer is an address to Python.
TYPED = {"csr", "context_options", "normalize_options", "device_properties"}

pytestmark = pytest.mark.skipif(not COMPILER, reason="needs a C compiler")


@pytest.fixture(scope="module")
def header():
    """The header's own declarations, without comments, directives and attributes."""
    command = [COMPILER, "-E", "-P", f"-I{INCLUDE}", str(INCLUDE / "csrnorm/csrnorm.h")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text = text[text.index("typedef enum csrn_status") :]
    return re.sub(r"__attribute__\s*\(\(.*?\)\)\s*\)", "", text.replace('(visibility("default"))', "X)"))


def prototypes(text):
    """{name: [result, argument, ...]} as C writes the types, without names and const."""
    found = {}
    for result, name, arguments in re.findall(r"([\w\s*]+?)\bcsrn_(\w+)\s*\(([^()]*)\)\s*;", text):
        types = [] if arguments.strip() == "void" else [re.sub(r"\w+$", "", a.strip()) for a in arguments.split(",")]
        found[name] = [re.sub(r"\bconst\b|\s", "", kind) for kind in [result, *types]]
    return found


def as_ctypes(kind):
    if kind in SCALARS:
        return SCALARS[kind]
    name = kind.rstrip("*").removeprefix("csrn_")
    if kind.count("*") == 0 and name in C_ENUMS:
        return ctypes.c_int
    if name in TYPED:
        return ctypes.POINTER(getattr(_library, STRUCTS[name]))
    if kind == "csrn_context**" or kind == "void**":
        return ctypes.POINTER(ctypes.c_void_p)
    assert kind.endswith("*") and kind.count("*") == 1, kind
    return ctypes.c_void_p


def test_every_signature(header):
    declared = prototypes(header)
    assert len(declared) == (INCLUDE / "csrnorm/csrnorm.h").read_text().count("\nCSRN_API ")
    assert set(declared) == set(_library.SIGNATURES)
    for name, (result, *arguments) in declared.items():
        expected = [as_ctypes(kind) for kind in arguments]
        # One number by address may be typed; an array is an address.
        if name == "device_count":
            expected[1] = ctypes.POINTER(ctypes.c_int32)
        assert _library.SIGNATURES[name] == (as_ctypes(result), expected), name


@pytest.fixture(scope="module")
def facts(header, tmp_path_factory):
    """What a program in C says of structs and values: {"csr.nnz": (offset, size), ..., "CSRN_OK": (value,)}."""
    lines = []
    for name, struct in STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof(csrn_{name}));')
        for field in members(header, name):
            lines.append(f'P("{name}.{field}", csrn_{name}, {field});')
    for value in re.findall(r"\b(CSRN_\w+)\s*=", header):
        lines.append(f'printf("{value} %d\\n", (int){value});')
    folder = tmp_path_factory.mktemp("abi")
    (folder / "facts.c").write_text(
        "#include <csrnorm/csrnorm.h>\n#include <stdio.h>\n"
        '#define P(name, s, f) printf(name " %zu %zu\\n", offsetof(s, f), sizeof(((s *)0)->f))\n'
        "int main(void) {\n" + "\n".join(lines) + "\nreturn 0; }\n"
    )
    subprocess.run([COMPILER, f"-I{INCLUDE}", "facts.c", "-o", "facts"], cwd=folder, check=True)
    output = subprocess.run([folder / "facts"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0]: tuple(map(int, line.split()[1:])) for line in output.splitlines()}


def members(header, name):
    body = re.search(rf"typedef struct csrn_{name} \{{(.*?)\}} csrn_{name};", header, re.S).group(1)
    names = []
    for declaration in filter(None, map(str.strip, body.split(";"))):
        function = re.search(r"\(\*(\w+)\)", declaration)
        if function:
            names.append(function.group(1))
        else:
            names += [re.search(r"(\w+)(\[\d+\])?$", part.strip()).group(1) for part in declaration.split(",")]
    return names


@pytest.mark.parametrize(("name", "struct"), STRUCTS.items())
def test_every_struct(header, facts, name, struct):
    struct = getattr(_library, struct)
    assert (ctypes.sizeof(struct),) == facts[name]
    fields = [field[0] for field in struct._fields_]
    assert fields == members(header, name)
    for field in fields:
        descriptor = getattr(struct, field)
        assert (descriptor.offset, descriptor.size) == facts[f"{name}.{field}"], field


@pytest.mark.parametrize(("c_name", "enum"), list(zip(C_ENUMS, ENUMS)))
def test_every_value(header, facts, c_name, enum):
    body = re.search(rf"typedef enum csrn_{c_name} \{{(.*?)\}}", header, re.S).group(1)
    names = re.findall(r"CSRN_(\w+)\s*=", body)
    assert names == [value.name for value in getattr(_library, enum)]
    for value in getattr(_library, enum):
        assert facts[f"CSRN_{value.name}"] == (value.value,)


def test_every_error_has_an_exception():
    assert set(_library._ERRORS) == set(_library.Status) - {_library.Status.OK}


def test_the_version_is_that_of_the_header():
    import csrnorm

    text = (INCLUDE / "csrnorm/csrnorm.h").read_text()
    parts = [re.search(rf"CSRN_VERSION_{part} (\d+)", text).group(1) for part in ("MAJOR", "MINOR", "PATCH")]
    assert csrnorm.__version__ == ".".join(parts)
