"""TLS from the settings: whom a site trusts, and what it shows of itself."""

import ssl

from radfed.errors import InvalidInputError
from radfed.imaging.pacs.credentials import read_private
from radfed.imaging.pacs.settings import PacsSettings


def client_context(settings: PacsSettings) -> ssl.SSLContext:
    """For connections that we open: the PACS's certificate and name are always checked.

    Raises:
        InvalidInputError: a file cannot be used.
        GateError: others can read our key.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise InvalidInputError(
            f"{settings.ca_file}: holds no usable PEM certificate ({type(error).__name__})"
        ) from error
    _show_ours(context, settings)
    return context


def server_context(settings: PacsSettings) -> ssl.SSLContext:
    """For our storage SCP: a peer must show a certificate of the same authority.

    Raises:
        InvalidInputError: ``ca_file``, ``certificate`` or ``key`` is not set, or cannot be used.
        GateError: others can read our key.
    """
    if not (settings.ca_file and settings.certificate):
        raise InvalidInputError("listening with TLS needs ca_file, certificate and key in the PACS settings")
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=settings.ca_file)
    except OSError as error:
        raise InvalidInputError(
            f"{settings.ca_file}: holds no usable PEM certificate ({type(error).__name__})"
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED
    _show_ours(context, settings)
    return context


def _show_ours(context: ssl.SSLContext, settings: PacsSettings) -> None:
    if settings.certificate is None:
        return
    if settings.key is None:
        raise InvalidInputError("the PACS settings have a certificate but no key; set key to its PEM file")
    read_private(settings.key)
    try:
        # A password is given so that OpenSSL never asks for one at a terminal; keys must not be encrypted.
        context.load_cert_chain(settings.certificate, settings.key, password="")
    except OSError as error:
        raise InvalidInputError(
            f"{settings.certificate} and {settings.key}: are no PEM certificate and its unencrypted key "
            f"({type(error).__name__})"
        ) from error
