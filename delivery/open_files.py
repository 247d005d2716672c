"""How many files this process may open: each request under way needs one, and so does each connection that is kept."""

import logging
import math
import resource

logger = logging.getLogger(__name__)


def files_allowed() -> float:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if soft == resource.RLIM_INFINITY else soft


def allow_open_files(count: int) -> None:
    """Raises this process' soft limit of open files if it may: often that is 1,024, on macOS 256. A request without a
    socket fails and costs an attempt."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    except (OSError, ValueError) as error:  # macOS has another limit, even where the hard limit is infinite
        logger.warning("the limit of open files cannot be raised", extra={"allowed": soft, "error": str(error)})
