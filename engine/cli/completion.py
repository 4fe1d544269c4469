"""``completion``: the script for a shell."""

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script that completes commands, options, projects, concepts and rule files.

    \b
    bash: prosect completion bash > ~/.local/share/bash-completion/completions/prosect
    zsh:  prosect completion zsh > ~/.zfunc/_prosect   (a folder of $fpath), or in ~/.zshrc:
          eval "$(prosect completion zsh)"
    fish: prosect completion fish > ~/.config/fish/completions/prosect.fish
    """  # noqa: D301 - \b is Click's mark for text that must not be wrapped
    from engine.cli.shells import script

    click.echo(script(shell), nl=False)
