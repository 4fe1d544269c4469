"""Where a person was on the pages that were left, so that one comes back to them as they were."""

from dataclasses import dataclass, field

from tui.places import Place
from tui.widgets.pane import Spot

MAX_SPOTS = 200


@dataclass(slots=True)
class Spots:
    """The pages left last, by place."""

    known: dict[Place, Spot] = field(default_factory=dict)

    def leave(self, place: Place, spot: Spot) -> None:
        """Keep a spot; the oldest one goes."""
        self.known.pop(place, None)
        self.known[place] = spot
        if len(self.known) > MAX_SPOTS:
            del self.known[next(iter(self.known))]

    def back(self, place: Place, came_from: Place) -> Spot | None:
        """Where to be on a page again, on what one comes from where it is there.

        J and K may have led from what was opened on the page to something below it.
        """
        spot = self.known.get(place)
        return None if spot is None else spot._replace(item=came_from)
