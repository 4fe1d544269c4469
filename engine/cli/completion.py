"""``completion``: the script for a shell."""

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the script that completes commands, options, projects, concepts and rule files.

    \b
    bash: prosect completion bash > ~/.prosect.bash
          echo '. ~/.prosect.bash' >> ~/.bashrc
    zsh:  prosect completion zsh > ~/.prosect.zsh
          echo '. ~/.prosect.zsh' >> ~/.zshrc
    fish: mkdir -p ~/.config/fish/completions
          prosect completion fish > ~/.config/fish/completions/prosect.fish

    In a .zshrc that runs `compinit`, the line must stand below it. A new shell completes; so does this one
    once it has read the file (bash, zsh), or at once (fish). Tab after the project offers its concepts,
    contexts and rule files; a name that begins with " or @ is found without it.
    """  # noqa: D301 - \b is Click's mark for text that must not be wrapped
    from engine.cli.shells import script

    click.echo(script(shell), nl=False)
