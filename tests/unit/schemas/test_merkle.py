"""schemas.merkle against published constants, and what its verifiers say when they refuse."""

from collections.abc import Sequence

import pytest

from schemas.errors import ProofError
from schemas.merkle import (
    EMPTY_ROOT,
    Node,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_of,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)

pytestmark = pytest.mark.unit

# transparency-dev/merkle testonly/constants.go: leaves and roots that every RFC 6962 implementation knows.
CT_LEAVES = [
    leaf_hash(bytes.fromhex(entry))
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# MTH(D[4:8]) and its likes, named by the range of leaves they cover.
D0_1, D1_2, D2_3, D3_4 = CT_LEAVES[:4]
D4_5 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
D4_6 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
D6_8 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
D4_7 = "837dbb152e9b079010717e84e865da4ebc0fa198a806d59d31bf15accef22d0e"
D4_8 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"


def node_over(leaves: Sequence[bytes]) -> Node:
    return lambda level, n: root_of(leaves[n << level : (n + 1) << level])


CT_NODE = node_over(CT_LEAVES)


def hexes(hashes: Sequence[bytes]) -> list[str]:
    return [value.hex() for value in hashes]


def test_leaf_hash_differs_from_the_empty_tree_and_from_nodes() -> None:
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"a").hex() == "022a6979e6dab7aa5ae4c3e5e45f7e977112a7e63593820dbec1ec738a24f93c"
    assert EMPTY_ROOT.hex() == CT_ROOTS[0]
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert node_hash(left, right).hex() == "b137985ff484fb600db93107c77b0365c80d78f5b429ded0fd97361d077999eb"
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize("size", range(9))
def test_roots_of_the_ct_tree(size: int) -> None:
    assert root_of(CT_LEAVES[:size]).hex() == CT_ROOTS[size]
    assert subtree_root(0, size, CT_NODE).hex() == CT_ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (5, 8, [D4_5, D6_8, CT_ROOTS[4]]),
        (2, 5, [D3_4.hex(), CT_ROOTS[2], D4_5]),
        (4, 5, [CT_ROOTS[4]]),
        (2, 3, [CT_ROOTS[2]]),
        (0, 7, [D1_2.hex(), node_hash(D2_3, D3_4).hex(), D4_7]),
    ],
)
def test_inclusion_paths(index: int, size: int, path: list[str]) -> None:
    assert hexes(inclusion_path(index, size, CT_NODE)) == path


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (0, 8, []),
        (8, 8, []),
        (4, 8, [D4_8]),
        (6, 8, [D4_6, D6_8, CT_ROOTS[4]]),
        (3, 7, [D2_3.hex(), D3_4.hex(), CT_ROOTS[2], D4_7]),
        (1, 3, [D1_2.hex(), D2_3.hex()]),
    ],
)
def test_consistency_paths(old: int, new: int, path: list[str]) -> None:
    assert hexes(consistency_path(old, new, CT_NODE)) == path


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (4, 3), (-1, 3), (0, -1)])
def test_no_path_to_an_index_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ProofError, match="index is not inside the tree"):
        inclusion_path(index, size, CT_NODE)


@pytest.mark.parametrize(("old", "new"), [(4, 3), (-1, 3), (1, 0)])
def test_no_path_from_a_larger_tree(old: int, new: int) -> None:
    with pytest.raises(ProofError, match="smaller checkpoint first"):
        consistency_path(old, new, CT_NODE)


def test_verify_inclusion_says_what_is_wrong() -> None:
    root, path = root_of(CT_LEAVES), inclusion_path(5, 8, CT_NODE)
    verify_inclusion(CT_LEAVES[5], 5, 8, path, root)
    with pytest.raises(ProofError, match="index is not inside the tree"):
        verify_inclusion(CT_LEAVES[5], 8, 8, path, root)
    with pytest.raises(ProofError, match="has 2 hashes where this place in the tree needs 3"):
        verify_inclusion(CT_LEAVES[5], 5, 8, path[:2], root)
    with pytest.raises(ProofError, match="inclusion path has 31 bytes where SHA-256 has 32"):
        verify_inclusion(CT_LEAVES[5], 5, 8, [path[0], path[1][:31], path[2]], root)
    with pytest.raises(ProofError, match="leaf hash has 0 bytes"):
        verify_inclusion(b"", 5, 8, path, root)
    with pytest.raises(ProofError, match="the root has 33 bytes"):
        verify_inclusion(CT_LEAVES[5], 5, 8, path, root + b"\0")
    with pytest.raises(ProofError, match="does not lead to the root"):
        verify_inclusion(CT_LEAVES[4], 5, 8, path, root)


def test_verify_consistency_says_what_is_wrong() -> None:
    old_root, new_root = root_of(CT_LEAVES[:3]), root_of(CT_LEAVES[:7])
    path = consistency_path(3, 7, CT_NODE)
    verify_consistency(3, 7, path, old_root, new_root)
    with pytest.raises(ProofError, match="smaller checkpoint first"):
        verify_consistency(7, 3, path, new_root, old_root)
    with pytest.raises(ProofError, match="path is empty although the tree grew"):
        verify_consistency(3, 7, [], old_root, new_root)
    with pytest.raises(ProofError, match="too long"):
        verify_consistency(3, 7, [*path, old_root], old_root, new_root)
    with pytest.raises(ProofError, match="too short"):
        verify_consistency(3, 7, path[:-1], old_root, new_root)
    with pytest.raises(ProofError, match="old root"):
        verify_consistency(3, 7, path, new_root, new_root)
    with pytest.raises(ProofError, match="new root"):
        verify_consistency(3, 7, path, old_root, old_root)
    with pytest.raises(ProofError, match="a root has 31 bytes"):
        verify_consistency(3, 7, path, old_root[:31], new_root)
    with pytest.raises(ProofError, match="consistency path has 1 bytes"):
        verify_consistency(3, 7, [b"x", *path[1:]], old_root, new_root)


def test_consistency_without_a_path() -> None:
    root = root_of(CT_LEAVES)
    verify_consistency(0, 8, [], EMPTY_ROOT, root)
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    verify_consistency(8, 8, [], root, root)
    with pytest.raises(ProofError, match="must be empty"):
        verify_consistency(0, 8, [root], EMPTY_ROOT, root)
    with pytest.raises(ProofError, match="must be empty"):
        verify_consistency(8, 8, [root], root, root)
    with pytest.raises(ProofError, match="forked"):
        verify_consistency(8, 8, [], root, EMPTY_ROOT)
    with pytest.raises(ProofError, match="size 0"):
        verify_consistency(0, 8, [], root, root)
    with pytest.raises(ProofError, match="size 0"):
        verify_consistency(0, 0, [], EMPTY_ROOT, root)


def test_a_path_alone_does_not_bind_the_size() -> None:
    """Why callers must take size and root from one checkpoint: RFC 9162 accepts this, and so must we."""
    verify_inclusion(CT_LEAVES[0], 0, 3, inclusion_path(0, 4, CT_NODE), root_of(CT_LEAVES[:4]))
