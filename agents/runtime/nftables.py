"""nftables commands run from this process, by libnftables (the library behind `nft`).

Starting ``nft`` takes 5 ms, and 20 on a busy machine, for which no agent can stand still.
"""

import ctypes
from typing import Final

LIBRARY: Final = "libnftables.so.1"
NFT_CTX_DEFAULT: Final = 0


class NftablesError(Exception):
    """A command that nftables refused, or no library; the message is one line."""


def load_library() -> ctypes.CDLL:
    """Return libnftables; raises `NftablesError` where it is missing."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise NftablesError(f"{LIBRARY} is missing; install Debian's nftables") from None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    for name in ("nft_ctx_buffer_error", "nft_ctx_buffer_output"):
        getattr(library, name).argtypes = [ctypes.c_void_p]
    for name in ("nft_ctx_get_error_buffer", "nft_ctx_get_output_buffer"):
        getattr(library, name).restype = ctypes.c_char_p
        getattr(library, name).argtypes = [ctypes.c_void_p]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    library.nft_ctx_free.argtypes = [ctypes.c_void_p]
    return library


class Nftables:
    """nftables of the network namespace of the thread that makes it. Not threadsafe."""

    def __init__(self) -> None:
        """Open it; raises `NftablesError` without the library."""
        self._library = load_library()
        self._context = self._library.nft_ctx_new(NFT_CTX_DEFAULT)
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_buffer_output(self._context)
        self.run("list tables")  # what the first command loads is loaded now

    def run(self, commands: str) -> str:
        """Run commands in one transaction, return what they print.

        Raises `NftablesError`, which says what was refused.
        """
        if self._library.nft_run_cmd_from_buffer(self._context, commands.encode()) != 0:
            said = (self._library.nft_ctx_get_error_buffer(self._context) or b"").decode()
            raise NftablesError(said.strip().partition("\n")[0] or "nftables refused a command")
        return (self._library.nft_ctx_get_output_buffer(self._context) or b"").decode()

    def close(self) -> None:
        """Free the context."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None
