"""What an object store refused, in words that say what to do about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from upath import UPath


@contextmanager
def explained(path: Path | UPath) -> Iterator[None]:
    """Name store and remedy when an object store refuses access or does not answer.

    Throttling and broken connections were retried before by the client. Neither kind of failure
    may ever look like an absent file, which would be computed again.

    Raises:
        PermissionError: the credentials are wrong, or do not allow this.
        ConnectionError: nobody answers at the endpoint.
    """
    if isinstance(path, Path) or path.protocol != "s3":
        yield
        return
    from botocore.exceptions import ConnectionError as BotoConnectionError
    from botocore.exceptions import HTTPClientError, NoCredentialsError

    try:
        yield
    except (PermissionError, NoCredentialsError) as error:
        raise PermissionError(
            f"the object store refuses access to {str(path)!r}: check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, SYNPREF_S3_ENDPOINT and what the key may do with the bucket"
        ) from error
    except (BotoConnectionError, HTTPClientError) as error:
        endpoint = path.storage_options.get("endpoint_url") or "Amazon's endpoint"
        raise ConnectionError(
            f"no answer from the object store at {endpoint} for {str(path)!r}: check "
            "SYNPREF_S3_ENDPOINT and the network, and start again; finished shards are kept"
        ) from error
