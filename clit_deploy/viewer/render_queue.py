"""Work for the network: one piece at a time on one thread, for as long as someone waits for it."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clit_deploy.errors import BusyError, CancelledError, ClosedError
from clit_deploy.system.threads import thread_limit_explained

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

BOUND = 64
"""Pieces of work that may wait; a page asks for a few at a time."""
PAGES = 256
"""Pages whose views are remembered."""


@dataclass(frozen=True)
class View:
    """What a request belongs to: a page, and how often its view had changed by then."""

    page: str
    generation: int

    @classmethod
    def parse(cls, text: str | None) -> View | None:
        """`PAGE:GENERATION`, at most 32 and 15 characters; None for anything else."""
        page, _, number = (text or "").partition(":")
        if not (0 < len(page) <= 32 and number.isascii() and number.isdigit()):
            return None
        return cls(page, int(number)) if len(number) <= 15 else None


class Ticket:
    """A request that waits for a piece of work."""

    def __init__(self, queue: RenderQueue, job: Job, view: View | None) -> None:
        self._queue, self.job, self.view = queue, job, view
        self.future: Future[Any] = Future()

    def drop(self) -> None:
        """Wait no longer; the work is cancelled if nobody else waits for it."""
        self._queue.drop(self)

    def settle(self, outcome: Any, error: BaseException | None) -> None:
        """End the wait, unless it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        if error is None:
            self.future.set_result(outcome)
        else:
            self.future.set_exception(error)


class Job:
    """A piece of work, and who waits for it."""

    def __init__(self, key: Hashable, work: Callable[[threading.Event], Any]) -> None:
        self.key, self.work = key, work
        self.cancelled = threading.Event()
        self.tickets: list[Ticket] = []


class RenderQueue:
    """A bounded queue and its thread, which starts with the first piece of work."""

    def __init__(self, bound: int = BOUND) -> None:
        self._bound = bound
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._closed = False

    def __len__(self) -> int:
        """Pieces of work that wait or run."""
        with self._changed:
            return len(self._waiting) + (self._running is not None)

    def submit(
        self,
        key: Hashable,
        work: Callable[[threading.Event], Any],
        *,
        view: View | None = None,
        urgent: bool = False,
    ) -> Ticket:
        """Wait for a piece of work; what has the same key is done once.

        Args:
            key: names the work.
            work: called on the queue's thread with an event that is set when it is not wanted.
            view: the view that needs it. A later one of the same page drops what waits for it.
            urgent: before everything that waits.

        Raises:
            BusyError: too much is waiting.
            CancelledError: the page has a later view.
            ClosedError: the queue is closed.
        """
        with self._changed:
            if self._closed:
                raise ClosedError("The viewer is closed; start it again.")
            if view:
                self._move_on(view)
            job = self._find(key)
            if job is None:
                job = Job(key, work)
                self._append(job, urgent=urgent)
            ticket = Ticket(self, job, view)
            job.tickets.append(ticket)
            self._changed.notify_all()
        return ticket

    def drop(self, ticket: Ticket) -> None:
        """See `Ticket.drop`."""
        with self._changed:
            self._drop(ticket)

    def close(self) -> None:
        """Cancel everything; the thread ends where the work in progress can stop."""
        with self._changed:
            self._closed = True
            for job in self._jobs():
                for ticket in list(job.tickets):
                    self._drop(ticket)
            self._changed.notify_all()

    def _append(self, job: Job, *, urgent: bool) -> None:
        if len(self._waiting) >= self._bound:
            raise BusyError("The viewer has more to render than it accepts; wait a moment.")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="clit-viewer", daemon=True)
            with thread_limit_explained():
                self._thread.start()
        if urgent:
            self._waiting.appendleft(job)
        else:
            self._waiting.append(job)

    def _find(self, key: Hashable) -> Job | None:
        return next(
            (job for job in self._jobs() if job.key == key and not job.cancelled.is_set()), None
        )

    def _jobs(self) -> list[Job]:
        return [*([self._running] if self._running else []), *self._waiting]

    def _move_on(self, view: View) -> None:
        """Note a page's view, and drop what its earlier ones wait for."""
        newest = self._newest.get(view.page, -1)
        if view.generation < newest:
            raise CancelledError("The view has moved on.")
        self._newest[view.page] = view.generation
        self._newest.move_to_end(view.page)
        while len(self._newest) > PAGES:
            self._newest.popitem(last=False)
        for job in self._jobs():
            for ticket in list(job.tickets):
                own = ticket.view
                if own and own.page == view.page and own.generation < view.generation:
                    self._drop(ticket)

    def _drop(self, ticket: Ticket) -> None:
        job = ticket.job
        if ticket not in job.tickets:
            return
        job.tickets.remove(ticket)
        ticket.settle(None, CancelledError("The view has moved on."))
        if not job.tickets:
            job.cancelled.set()
            if job in self._waiting:
                self._waiting.remove(job)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            outcome, error = None, None
            try:
                outcome = job.work(job.cancelled)
            except Exception as raised:
                error = raised
            except BaseException:  # a signal, which the main thread obeys
                error = ClosedError("The viewer is closed; start it again.")
            with self._changed:
                self._running = None
                tickets, job.tickets = job.tickets, []
            for ticket in tickets:
                ticket.settle(outcome, error)

    def _next(self) -> Job | None:
        """The next piece of work; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._running = self._waiting.popleft()
            return self._running
