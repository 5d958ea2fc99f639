"""ImageNet weights: fetched where a network is, said plainly where there is none."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from jaxtyping import Float
from torch import Tensor, nn

from deeplense_core.errors import UserError

log = logging.getLogger(__name__)

RANDOM = "random initialisation"


def adapt_input(weight: Float[Tensor, "o i h w"], in_channels: int) -> Float[Tensor, "o c h w"]:
    """Fits a three-channel first convolution to ``in_channels`` without changing its response.

    One channel gets the sum over RGB, so that a grey image gives what it gave as three equal
    channels. Other counts repeat the filters and scale them to keep the response to equal channels.
    """
    rgb = weight.shape[1]
    if in_channels == rgb:
        return weight
    if in_channels == 1:
        return weight.sum(1, keepdim=True)
    repeats = -(-in_channels // rgb)
    return weight.repeat(1, repeats, 1, 1)[:, :in_channels] * (rgb / in_channels)


def replace_first_conv(conv: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    """``conv`` rebuilt for ``in_channels``, its weights adapted by :func:`adapt_input`."""
    if conv.in_channels == in_channels:
        return conv
    new = nn.Conv2d(
        in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding,  # pyright: ignore
        bias=conv.bias is not None,
    )
    with torch.no_grad():
        new.weight.copy_(adapt_input(conv.weight, in_channels))
        if conv.bias is not None and new.bias is not None:
            new.bias.copy_(conv.bias)
    return new


def with_pretrained(wanted: bool, build: Callable[[bool], nn.Module], what: str) -> nn.Module:
    """``build(True)`` where the weights can be had, else ``build(False)`` and one clear line.

    The result's ``weights_origin`` says which it was; the run records it.
    """
    origin = RANDOM
    net = None
    if wanted:
        try:
            # What the download says of itself would stand in the way of the JSON on stdout.
            with _patience(10), _only_copies_where_no_network(), contextlib.redirect_stdout(sys.stderr):
                net = build(True)
            origin = what
        except (URLError, OSError, RuntimeError) as err:
            if not _is_fetch_error(err):
                raise
            reason = str(getattr(err, "reason", err)).split("\n", 1)[0][:120]
            origin = f"{RANDOM} ({what} not reachable: {reason})"
            log.warning("%s could not be fetched (%s); %s instead.", what, reason, RANDOM)
    if net is None:
        net = build(False)
    net.weights_origin = origin  # pyright: ignore[reportArgumentType]
    return net


def start_from(net: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Takes over every tensor of a trained network that has the name and the shape of one of ``net``'s.

    A first convolution of other bands is fitted by :func:`adapt_input`. ``weights_origin`` says how much that was, and
    which tensors were left as they are.

    Raises:
        UserError: where less than half of the numbers of ``net`` fit, so that it would be another network.
    """
    own, tensors = net.state_dict(), dict(tensors)
    first = next((f"{name}.weight" for name, part in net.named_modules() if isinstance(part, nn.Conv2d)), "")
    if first in tensors and own[first].shape[1] != tensors[first].shape[1]:
        tensors[first] = adapt_input(tensors[first], own[first].shape[1])
    fitting = {key: value for key, value in tensors.items() if key in own and own[key].shape == value.shape}
    left = [key for key in own if key not in fitting]
    taken, total = (sum(own[key].numel() for key in keys) for keys in (fitting, own))
    if 2 * taken < total:
        raise UserError(f"The weights of {name!r} do not fit: {len(fitting)} of {len(own)} tensors have the same name "
                        f"and shape ({left[0]} has not). Take the model and the model settings of that run.")
    net.load_state_dict({**own, **fitting})
    anew = f"; anew: {', '.join(left[:4])}{' ...' if len(left) > 4 else ''}" if left else ""
    net.weights_origin = (  # pyright: ignore[reportArgumentType]
        f"{name}, {len(fitting)} of {len(own)} tensors{anew}")


def _is_fetch_error(err: BaseException) -> bool:
    """Whether the download failed, as against a defect in building the network."""
    return isinstance(err, OSError) or "client has been closed" in str(err)


@contextlib.contextmanager
def _only_copies_where_no_network() -> Iterator[None]:
    """Without a network the Hugging Face Hub is not asked, which would try for a minute: copies fetched before serve.

    Behind a proxy names need not be known here, so there it is asked in any case.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import LocalEntryNotFoundError

    before, host = constants.HF_HUB_OFFLINE, urlsplit(constants.ENDPOINT).hostname
    try:
        if not getproxies():
            socket.getaddrinfo(host, None)
    except OSError:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    except LocalEntryNotFoundError as err:
        raise URLError(f"no network to {host}, and no copy here") from err
    finally:
        constants.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """A network that swallows packets must not hold a training job for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
