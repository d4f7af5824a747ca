"""Run nftables commands in a node from this process, by libnftables (the library behind `nft`).

Starting ``nft`` takes 5 ms, and 20 on a busy machine; a fault's moment should be known better.
"""

from __future__ import annotations

import ctypes

from topologies.namespaces import call_in

LIBRARY = "libnftables.so.1"
NFT_CTX_DEFAULT = 0


class NftablesError(Exception):
    """A command that nftables refused, or no library; the message is one line."""


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise NftablesError(f"{LIBRARY} is missing; install Debian's nftables") from None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_buffer_error.argtypes = [ctypes.c_void_p]
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.argtypes = [ctypes.c_void_p]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    return library


class Nftables:
    """nftables of the network namespace of process ``pid``; its socket stays open. Not threadsafe.

    Raises NftablesError without the library.
    """

    def __init__(self, pid: int) -> None:
        self._library = _load()
        self._context = call_in(pid, lambda: self._library.nft_ctx_new(NFT_CTX_DEFAULT))
        self._library.nft_ctx_buffer_error(self._context)
        self.run("list tables")  # what the first command loads is loaded now

    def run(self, commands: str) -> None:
        """Run commands in one transaction; NftablesError says what was refused."""
        if self._library.nft_run_cmd_from_buffer(self._context, commands.encode()) != 0:
            said = (self._library.nft_ctx_get_error_buffer(self._context) or b"").decode()
            raise NftablesError(said.strip().partition("\n")[0] or "nftables refused a command")

    def close(self) -> None:
        """Free the context."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None
