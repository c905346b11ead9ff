"""The repository on the Hub that a model goes to, and the token that must be allowed to write there."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from foundation.command_text import installed
from foundation.errors import HubError

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclasses.dataclass(frozen=True)
class HubTarget:
    """The repository on the Hub that a model goes to.

    Attributes:
        repo_id: `name`, in the namespace of the token's user, or `namespace/name`.
        private: Whether to make the repository private; None for the namespace's default.
        overwrite: Whether to push into a repository that holds files that this pipeline didn't push.
    """

    repo_id: str
    private: bool | None = None
    overwrite: bool = False


def client_with_token(repo_id: str) -> "HfApi":
    """The Hub's client with the token of the environment or of `hf auth login`.

    Raises:
        HubError: If there is none.
    """
    from huggingface_hub import HfApi, get_token

    token = get_token()
    if token is None:
        raise HubError(
            "a push to the Hub must have a token with write permission",
            received=f"model {repo_id!r}, and no token",
            remedy=f"set the environment variable HF_TOKEN, log in with {installed('hf')} auth login, or leave out "
            "--push.hub_model_id",
        )
    return HfApi(token=token)


def require_write_permission(account: Mapping[str, Any], namespace: str, repo_id: str) -> None:
    """Refuses a token that may not write to a namespace, as far as the Hub says what it may do.

    Args:
        account: The Hub's answer to `whoami`.
        namespace: A user or an organization.
        repo_id: The repository's id, for the message.

    Raises:
        HubError: If the token may not write there.
    """
    user = str(account["name"])
    roles = {str(item["name"]): item.get("roleInOrg") for item in account.get("orgs", ())}
    if namespace != user and namespace not in roles:
        raise HubError(
            "a push must go to the token's user or an organization of theirs",
            received=f"{repo_id!r}, with a token of {user}, whose organizations are {', '.join(roles) or 'none'}",
            remedy="correct --push.hub_model_id, or set HF_TOKEN to a token of the owner",
        )
    token = account.get("auth", {}).get("accessToken", {})
    allowed = namespace == user or roles[namespace] != "read"
    if token.get("role") == "read":
        allowed = False
    if token.get("role") == "fineGrained":
        scopes = token.get("fineGrained", {}).get("scoped", ())
        written = {scope["entity"].get("name") for scope in scopes if "repo.write" in scope.get("permissions", ())}
        # A scope may also be the one repository.
        allowed = allowed and bool({namespace, f"{namespace}/{repo_id.rpartition('/')[2]}"} & written)
    if not allowed:
        raise HubError(
            "the token of a push must have write permission on the repository's namespace",
            received=f"a token of {user} with the role {token.get('role')}, which may not write to {namespace}",
            remedy="make a token with the role write (or, fine-grained, with write access to this namespace), and set "
            "HF_TOKEN to it; or choose another --push.hub_model_id",
        )
