"""Nothing that a run leaves behind holds a key (I7): the search finds what is there."""

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from agents.keys import KeyedAssociation, SaMode, Transform, write_key_file
from agents.shared_secrets import write_secret_file
from agents.wire.addresses import address
from experiments import owner
from experiments.key_search import KeySearch
from experiments.run import RunError
from topologies import key_material

KEY = bytes((0xE7 * number + 0x9B) % 256 for number in range(20))
NOTATIONS = {
    "plain": KEY,
    "its first 16 octets": KEY[:16],
    "escaped": repr(KEY)[2:-1].encode(),
    "hexadecimal": KEY.hex().encode(),
    "in capitals": KEY.hex().upper().encode(),
    "with colons": KEY.hex(":").encode(),
    "with spaces": KEY.hex(" ").encode(),
    "after a prefix": b"0x" + KEY.hex().encode(),
    "after more digits": b"00ff3" + KEY.hex().encode(),
    "base64": base64.b64encode(KEY),
    "in JSON": b'{"key": "' + base64.b64encode(KEY) + b'"}',
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_a_key_is_found_in_every_usual_notation(notation: str) -> None:
    text = b"time_ns,what\n1,key " + NOTATIONS[notation] + b" taken\n"
    assert KeySearch([KEY]).found_in(text)
    assert not KeySearch([KEY[::-1]]).found_in(text)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(min_size=16, max_size=64))
def test_a_key_is_found_wherever_it_stands(before: bytes, after: bytes, key: bytes) -> None:
    search = KeySearch([bytes(16), key])
    for octets in (before + key + after, b"%s %s;%s" % (before, key.hex().encode(), after)):
        assert search.found_in(octets)


def test_a_private_key_is_found_whosever_it_is() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert KeySearch([]).found_in(b"log\n" + pem)
    (key,) = key_material.keys_in(pem)
    assert key == private.private_numbers().private_value.to_bytes(32)


def test_what_is_no_key_is_not_found() -> None:
    search = KeySearch([KEY])
    for text in (b"", b"fd00:192:168:1::100 " * 9, b"0123456789abcdef" * 9, bytes(range(256))):
        assert not search.found_in(text)


def test_keys_of_key_and_secret_files(tmp_path: Path) -> None:
    home, anycast = address("fd00:192:168:1::100"), address("fd00:192:168:1::254")
    keyed = KeyedAssociation(0x01000001, home, anycast, SaMode.TUNNEL, Transform.AES_128_GCM, KEY)
    write_key_file(tmp_path / "keys.toml", [keyed])
    write_secret_file(tmp_path / "secrets.toml", {home: KEY[::-1]})
    assert key_material.keys_in((tmp_path / "keys.toml").read_bytes()) == {KEY}
    assert key_material.keys_in((tmp_path / "secrets.toml").read_bytes()) == {KEY[::-1]}


def test_a_run_with_a_key_in_its_folder_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_material, "used", {KEY})
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "agent.log").write_text("nothing\n")
    (tmp_path / "esp_sa").write_text(KEY.hex())  # asked for, with CAPTURE=1
    assert owner.refuse_keys(tmp_path) == 1
    (tmp_path / "logs" / "agent.log").write_text(f"SA {KEY.hex()}\n")
    with pytest.raises(RunError, match=r"key material in logs/agent\.log"):
        owner.refuse_keys(tmp_path)
