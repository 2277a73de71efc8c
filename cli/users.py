"""`docatlas users`: the accounts of a server with accounts."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.console import AsJson, DataDir, open_data, print_json, print_line, print_table
from cli.passwords import PasswordFile, PasswordStdin, account_password

app = typer.Typer(help="Users: add, list, disable, enable, set a password, delete.", no_args_is_help=True)

User = Annotated[str, typer.Argument(help="The user's id, or the e-mail address of a local account.")]


@app.command()
def add(
    email: Annotated[str, typer.Argument(help="What the user logs in with.")],
    name: Annotated[str, typer.Option("--name", help="Shown in lists.")] = "",
    offline: Annotated[
        bool, typer.Option("--offline", help="May log in while Supabase's accounts cannot be reached.")
    ] = False,
    user_id: Annotated[
        str | None, typer.Option("--user-id", help="Of a user who is there already, such as one of Supabase's.")
    ] = None,
    password_stdin: PasswordStdin = False,
    password_file: PasswordFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Adds an account whose password is kept here, as a hash; also while registration is closed."""
    from services.accounts.principal import is_user_id
    from services.admin import users

    if user_id is not None and not is_user_id(user_id):
        raise typer.BadParameter("--user-id is no UUID in lower case, such as those that `docatlas users list` prints")
    password = account_password(password_stdin, password_file)
    with open_data(data_dir) as runtime:
        made = users.add_user(runtime, email, password, display_name=name, is_offline=offline, user_id=user_id)
    if as_json:
        print_json({"id": made})
    else:
        print_line(f"Added the user {made}.")


@app.command("list")
def list_(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Lists every user, by id."""
    from services.admin import users

    with open_data(data_dir) as runtime:
        found = users.list_users(runtime)
    if as_json:
        print_json(
            [
                {
                    "id": user.user_id,
                    "email": user.email,
                    "display_name": user.display_name,
                    "offline": user.is_offline,
                    "disabled": user.is_disabled,
                    "created_at": user.created_at,
                }
                for user in found
            ]
        )
        return
    print_table(
        ("id", "e-mail", "name", "offline", "state", "created at"),
        [
            (
                user.user_id,
                user.email or "",
                user.display_name,
                "yes" if user.is_offline else "",
                "disabled" if user.is_disabled else "",
                user.created_at,
            )
            for user in found
        ],
    )


@app.command()
def disable(user: User, data_dir: DataDir = None) -> None:
    """Keeps a user out: no login, no refresh, and tokens and keys are refused within seconds. Documents stay."""
    from services.admin import users

    with open_data(data_dir) as runtime:
        user_id = users.disable_user(runtime, user)
    print_line(f"The user {user_id} is disabled.")


@app.command()
def enable(user: User, data_dir: DataDir = None) -> None:
    """Lets a disabled user in again."""
    from services.admin import users

    with open_data(data_dir) as runtime:
        user_id = users.enable_user(runtime, user)
    print_line(f"The user {user_id} is enabled.")


@app.command("set-password")
def set_password(
    user: User, password_stdin: PasswordStdin = False, password_file: PasswordFile = None, data_dir: DataDir = None
) -> None:
    """Sets the password of a local account and ends its sessions."""
    from services.admin import users

    password = account_password(password_stdin, password_file)
    with open_data(data_dir) as runtime:
        user_id = users.set_password(runtime, user, password)
    print_line(f"The password of the user {user_id} is set, and every session has ended.")


@app.command()
def delete(
    user: User,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Deletes a user with every document, file, session and key of theirs."""
    from services.admin import users

    with open_data(data_dir) as runtime:
        user_id = users.find_user(runtime, user)
        if not yes:
            typer.confirm(f"Delete the user {user_id} with every document of theirs?", abort=True)
        count = users.remove_user(runtime, user_id)
    if as_json:
        print_json({"id": user_id, "documents": count})
    else:
        print_line(f"Deleted the user {user_id} and {count} documents.")
