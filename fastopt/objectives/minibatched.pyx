"""An objective that serves another batch of the data at every evaluation.

Owns the place in the data, and brings each batch to where an objective of the usual kind, the inner
one, reads its first arguments. A solver evaluates and need not know. Knows nothing of how rows are
gathered, nor of how the inner objective computes.

A request for a value is for the next batch; one for a gradient alone is for the batch of the last
value. A batch counts as served when its evaluation is complete: one that raised, or was cut short,
comes again at the next request. Between calls the place is two numbers, so it can be saved, and
gone to.

For a compiled function with arrays, all of this is C, without the interpreter: the rows are copied
to buffers, and the descriptions of arrays that the function's machine code reads are set to as many
rows as there are, so the short last batch is nothing special. For a function of the interpreter's,
and for streams, batches are Python's.
"""

import numpy as np

cimport numpy as cnp
from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport INFINITY, NAN
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from fastopt.core.abi cimport REPLY_DONE, REPLY_RAISED, REPLY_STOP, value_grad_fn
from fastopt.core.flag cimport is_set
from fastopt.objectives.compiled cimport CompiledObjective
from fastopt.objectives.context cimport ARGUMENTS
from fastopt.objectives.gathering cimport Gatherer, Table, gather
from fastopt.objectives.objective cimport BoundObjective
from fastopt.objectives.shuffling cimport permute

from fastopt.objectives.minibatches import as_compiled, take_rows

cnp.import_array()

# Places in Numba's description of an array.
cdef enum:
    NITEMS = 2
    DATA = 4
    LENGTH = 5

cdef enum:
    NOWHERE = -1


# Which batch is next, and the losses of the epoch so far: of the one before, at its beginning.
cdef struct Place:
    int64_t epoch
    int64_t batch
    double loss_sum           # weighted with the batches' rows,
    int64_t rows              # so many in all
    double epoch_loss         # of the last epoch that is complete: their mean


cdef struct Feed:
    value_grad_fn value_grad  # the inner objective
    void* context
    void* owner               # the MinibatchObjective
    # Brings a batch; one of an iterator may turn out to be another epoch's.
    int (*load)(Feed* feed, int64_t epoch, int64_t batch) noexcept nogil
    const Table* tables
    Py_ssize_t table_count
    Py_ssize_t n_samples      # 0 for a stream
    Py_ssize_t batch_size
    int64_t batches           # in an epoch; 0 for a stream
    uint32_t* order           # NULL: as they lie
    uint64_t seed
    int64_t ordered           # the epoch whose order that is
    Place place
    Place before              # the last batch that was served
    int64_t loaded_epoch      # which batch the inner objective has
    int64_t loaded_batch
    Py_ssize_t rows           # in it
    int64_t epochs            # where to stop
    bint exhausted            # the stream has ended
    long long nfev            # for all of the data, in calls of the function
    long long njev


cdef int evaluate(const double* x, double* value, double* grad, Py_ssize_t n,
                  void* context) noexcept nogil:
    """The objective's `value_grad_fn`."""
    cdef Feed* feed = <Feed*>context
    cdef Place* wanted = &feed.before if value == NULL else &feed.place
    cdef int reply
    if value != NULL and feed.place.epoch >= feed.epochs:
        return REPLY_STOP
    if wanted.epoch != feed.loaded_epoch or wanted.batch != feed.loaded_batch:
        feed.loaded_epoch = NOWHERE
        reply = feed.load(feed, wanted.epoch, wanted.batch)
        if reply != REPLY_DONE:
            return reply
        feed.loaded_epoch, feed.loaded_batch = wanted.epoch, wanted.batch
    reply = feed.value_grad(x, value, grad, n, feed.context)
    if value == NULL:
        if reply != REPLY_DONE:
            feed.place = feed.before
        return reply
    if reply == REPLY_DONE:
        move_on(feed, value[0])
    return reply


cdef void move_on(Feed* feed, double value) noexcept nogil:
    cdef Place* place = &feed.place
    feed.before = place[0]
    if place.batch == 0:
        if place.rows > 0:
            place.epoch_loss = place.loss_sum / place.rows
        place.loss_sum = 0
        place.rows = 0
    place.loss_sum += feed.rows * value
    place.rows += feed.rows
    place.batch += 1
    if place.batch == feed.batches:
        place.epoch += 1
        place.batch = 0


cdef void find_order(Feed* feed, int64_t epoch) noexcept nogil:
    if feed.order != NULL and feed.ordered != epoch:
        permute(feed.order, <uint32_t>feed.n_samples, feed.seed, epoch)
        feed.ordered = epoch


cdef Py_ssize_t rows_from(const Feed* feed, Py_ssize_t first) noexcept nogil:
    return min(feed.batch_size, feed.n_samples - first)


cdef int load_compiled(Feed* feed, int64_t epoch, int64_t batch) noexcept nogil:
    cdef Py_ssize_t first = batch * feed.batch_size
    find_order(feed, epoch)
    feed.rows = rows_from(feed, first)
    gather(feed.tables, feed.table_count, first, feed.rows, feed.order)
    return REPLY_DONE


cdef int load_python(Feed* feed, int64_t epoch, int64_t batch) noexcept with gil:
    cdef MinibatchObjective self = <MinibatchObjective>feed.owner
    cdef Py_ssize_t first = batch * feed.batch_size
    try:
        find_order(feed, epoch)
        feed.rows = rows_from(feed, first)
        self.hand_over(take_rows(self.data.arrays, first, feed.batch_size, self.order))
        return REPLY_DONE
    except BaseException as error:
        self.error = error
        return REPLY_RAISED


cdef int load_streamed(Feed* feed, int64_t epoch, int64_t batch) noexcept with gil:
    cdef MinibatchObjective self = <MinibatchObjective>feed.owner
    try:
        if self.batch is None or epoch != self.batch_epoch or batch != self.batch_number:
            if not self.fetch():
                return REPLY_STOP
        self.hand_over(self.batch)
        feed.rows = self.batch[0].shape[0]
        return REPLY_DONE
    except BaseException as error:
        self.error = error
        return REPLY_RAISED


cdef class MinibatchObjective(BoundObjective):
    """An objective whose first arguments are a batch of the data, another one at every evaluation.

    `fun` is taken to be a mean over the rows of its batch: so losses of batches are weighted with
    their numbers of rows, here and in `evaluate_all`.

    Parameters
    ----------
    inner : CompiledObjective or PythonObjective
        The function. A compiled one has been made with the data's `buffers` before its other
        arguments.
    data : fastopt.Minibatches
        Where batches come from, beginning at its place. It is left as it is, but an iterator of
        batches is used up.
    args : tuple
        The function's further arguments.
    as_tuples : bool
        Whether the function, called through the interpreter, is an @njit function: then it gets
        sparse batches in the form that such functions take.

    Attributes
    ----------
    epochs : int or None
        The solve ends when so many epochs have been served; None: it goes on.
    """

    cdef Feed feed
    cdef readonly BoundObjective inner
    cdef readonly object data
    cdef tuple args
    cdef bint as_tuples
    cdef Gatherer gatherer     # NULL pointers in `feed` where batches are Python's
    cdef object order          # the array whose memory `feed.order` is
    cdef list targets          # addresses of descriptions of arrays, for each argument
    cdef object handed         # the arrays that machine code has pointers to
    cdef object batches        # of a stream: an iterator over the epoch,
    cdef tuple batch           # what came from it last,
    cdef int64_t batch_epoch   # and where that was
    cdef int64_t batch_number

    def __init__(self, BoundObjective inner not None, data, tuple args not None,
                 bint as_tuples=False):
        cdef Feed* feed = &self.feed
        self.inner = inner
        self.data = data
        self.args = args
        self.as_tuples = as_tuples
        self.objective = inner.objective
        self.objective.value_grad = evaluate
        self.objective.context = feed
        self.objective.stop = 0
        self.objective.hess = NULL
        self.objective.hessp = NULL
        self.objective.newton = NULL
        # Checked with values at other points, for which there would be other batches.
        self.objective.complex_step = False
        feed.value_grad = inner.objective.value_grad
        feed.context = inner.objective.context
        feed.owner = <void*>self
        feed.loaded_epoch = NOWHERE
        feed.ordered = NOWHERE
        feed.epochs = INT64_MAX
        feed.seed = data.seed
        if isinstance(inner, CompiledObjective):
            self.targets = find_targets(<CompiledObjective>inner, len(args))
        if data.stream is not None:
            feed.load = load_streamed
        else:
            feed.n_samples = data.n_samples
            feed.batch_size = data.batch_size
            feed.batches = len(data)
            feed.load = load_python
            if data.shuffle:
                self.order = np.empty(data.n_samples, dtype=np.uint32)
                feed.order = <uint32_t*>cnp.PyArray_DATA(<cnp.ndarray>self.order)
            if self.targets is not None:
                self.set_gatherer()
        self.seek(data.epoch, data.batch)

    cdef int set_gatherer(self) except -1:
        cdef size_t first, second, third
        cdef CompiledObjective inner = <CompiledObjective>self.inner
        # Where arguments are counted, an array may be kept in Python, with the buffer as its owner.
        self.gatherer = Gatherer(self.data.arrays, inner.args[:len(self.targets)],
                                 inner.release == NULL)
        for k, addresses in enumerate(self.targets):
            first, second, third = (*addresses, 0, 0)[:3]
            self.gatherer.aim(k, <int64_t*>first, <int64_t*>second, <int64_t*>third)
        self.feed.tables = self.gatherer.tables
        self.feed.table_count = self.gatherer.count
        self.feed.load = load_compiled
        return 0

    # --- batches that are Python's -------------------------------------------------------------

    cdef int hand_over(self, tuple batch) except -1:
        """Have the inner objective read a batch."""
        if self.targets is None:
            if self.as_tuples:
                batch = as_compiled(batch)
            self.inner.set_args((*batch, *self.args))
            return 0
        batch = as_compiled(batch)
        for addresses, given in zip(self.targets, batch):
            parts = (given,) if isinstance(given, np.ndarray) else given
            for address, part in zip(addresses, parts):
                show(<int64_t*><size_t>address, part)
        self.handed = batch
        return 0

    cdef bint fetch(self) except -1:
        """Take the next batch of the stream; answers whether there is one."""
        cdef Place* place = &self.feed.place
        cdef bint fresh = self.batches is None
        if fresh:
            self.batches = self.data.stream.begin(place.batch)
        found = next(self.batches, None)
        if found is None:
            if fresh and (place.batch == 0 or self.data.stream.once):
                raise ValueError("a stream must have at least one batch, got one without any")
            if self.data.stream.once:
                self.feed.exhausted = True
                return False
            self.batches = None
            place.epoch += 1
            place.batch = 0
            return place.epoch < self.feed.epochs and self.fetch()
        self.batch = found
        self.batch_epoch = place.epoch
        self.batch_number = place.batch
        return True

    # --- the whole of the data -----------------------------------------------------------------

    def evaluate_all(self, x, bint gradient=True):
        """The value at x for all of the data, and its gradient: means over batches in order.

        The mean of what `fun` gives for each batch, weighted with its rows; those that
        ``drop_last`` leaves out are in it. The place in the data does not change.

        Parameters
        ----------
        x : ndarray of float64, shape (n,), C-contiguous
            Where to evaluate.
        gradient : bool, default True
            Whether the gradient is wanted.

        Returns
        -------
        value : float
        gradient : ndarray of shape (n,)
            NaN if it is not wanted. Both are NaN if the objective was told to stop.

        Raises
        ------
        ValueError
            If the data are an iterator, whose batches come but once.
        Exception
            What the user's code raised.
        """
        cdef Feed* feed = &self.feed
        cdef const double[::1] point = x
        cdef double[::1] slopes = np.full(x.size, NAN)
        cdef double[::1] mean = np.full(x.size, 0.0 if gradient else NAN)
        cdef double found = NAN
        cdef double value = 0
        cdef double share
        cdef int64_t seen = 0
        cdef Py_ssize_t i
        cdef Py_ssize_t n = point.size
        cdef double* entries = &slopes[0] if gradient else NULL
        cdef int reply
        feed.loaded_epoch = NOWHERE
        for rows in self.each_in_order():
            with nogil:
                reply = feed.value_grad(&point[0], &found, entries, n, feed.context)
            if reply == REPLY_RAISED:
                self.raise_error()
            if reply == REPLY_STOP or is_set(&self.objective.stop):
                return NAN, np.full(n, NAN)
            feed.nfev += 1
            if gradient:
                feed.njev += 1
                if not self.objective.joint:
                    feed.nfev += self.objective.gradient_cost
            seen += rows
            share = <double><int64_t>rows / <double>seen
            value += share * (found - value)
            if gradient:
                for i in range(n):
                    mean[i] += share * (slopes[i] - mean[i])
            PyErr_CheckSignals()
        return value, np.asarray(mean)

    def each_in_order(self):
        """Have the inner objective read each batch of the unshuffled data; yields its rows."""
        cdef Py_ssize_t first, rows
        if self.data.stream is not None:
            if self.data.stream.once:
                raise ValueError("`data` must be arrays, or batches that can be gone through "
                                 "again, to be evaluated as a whole; got an iterator")
            for batch in self.data.stream.begin():
                self.hand_over(batch)
                yield batch[0].shape[0]
            return
        for first in range(0, self.feed.n_samples, self.feed.batch_size):
            rows = rows_from(&self.feed, first)
            if self.gatherer is None:
                self.hand_over(take_rows(self.data.arrays, first, rows))
            else:
                gather(self.feed.tables, self.feed.table_count, first, rows, NULL)
            yield rows

    # --- the place -----------------------------------------------------------------------------

    @property
    def position(self):
        """Epoch and batch that are next, both from 0 on. In a stream, whose epochs end when no
        further batch comes, the first batch of an epoch goes by the number that would follow."""
        return self.feed.place.epoch, self.feed.place.batch

    @property
    def running_loss(self):
        """Mean of the losses of the epoch's batches so far, each at its own x; at the beginning of
        an epoch, of the last one. NaN before the first."""
        cdef const Place* place = &self.feed.place
        return place.loss_sum / place.rows if place.rows > 0 else NAN

    @property
    def epoch_loss(self):
        """The same of the epoch before the one that the last batch served was of; NaN if there is
        none."""
        return self.feed.place.epoch_loss

    @property
    def nfev(self):
        """Calls of the function in `evaluate_all`, those for differences included; a solver counts
        its own."""
        return self.feed.nfev

    @property
    def njev(self):
        """Gradients of batches in `evaluate_all`."""
        return self.feed.njev

    @property
    def ended(self):
        """Whether no batch is left: `epochs` have been served, or an iterator has ended."""
        return self.feed.exhausted or self.feed.place.epoch >= self.feed.epochs

    @property
    def epochs(self):
        return None if self.feed.epochs == INT64_MAX else self.feed.epochs

    @epochs.setter
    def epochs(self, limit):
        self.feed.epochs = INT64_MAX if limit is None else limit

    @property
    def deadline(self):
        """As `PythonObjective` has it; without effect on a compiled function."""
        return getattr(self.inner, "deadline", INFINITY)

    @deadline.setter
    def deadline(self, when):
        if self.targets is None:
            self.inner.deadline = when

    def seek(self, int64_t epoch, int64_t batch=0):
        """Go to a place, as `Minibatches.seek`. The running loss begins anew."""
        self.place_at(Place(epoch, batch, 0.0, 0, NAN))

    cdef int place_at(self, Place place) except -1:
        if place.epoch < 0 or place.batch < 0 or 0 < self.feed.batches <= place.batch:
            raise ValueError(f"the place must be one in the data, got epoch {place.epoch} and "
                             f"batch {place.batch}")
        self.feed.place = self.feed.before = place
        self.feed.loaded_epoch = NOWHERE
        self.batch = None
        self.batches = None
        return 0

    def state_dict(self):
        """The place, as numbers by name: with it, the solve goes on as if it had not stopped."""
        cdef const Place* place = &self.feed.place
        return {"epoch": place.epoch, "batch": place.batch, "loss_sum": place.loss_sum,
                "rows": place.rows, "epoch_loss": place.epoch_loss,
                "nfev": self.feed.nfev, "njev": self.feed.njev}

    def load_state_dict(self, state):
        """Go to where a `state_dict` was taken."""
        self.place_at(Place(int(state["epoch"]), int(state["batch"]), float(state["loss_sum"]),
                            int(state["rows"]), float(state["epoch_loss"])))
        self.feed.nfev, self.feed.njev = int(state["nfev"]), int(state["njev"])

    def take_over(self, MinibatchObjective other not None):
        """Go on where another objective of the same data is, with what it has of a stream."""
        self.place_at(other.feed.place)
        self.feed.before = other.feed.before
        self.feed.nfev, self.feed.njev = other.feed.nfev, other.feed.njev
        self.feed.epochs = other.feed.epochs
        self.feed.exhausted = other.feed.exhausted
        self.batches, self.batch = other.batches, other.batch
        self.batch_epoch, self.batch_number = other.batch_epoch, other.batch_number

    # --- as the inner objective ----------------------------------------------------------------

    def stop(self, bint stop=True):
        BoundObjective.stop(self, stop)
        self.inner.stop(stop)

    cdef int raise_error(self) except -1:
        if self.error is not None:
            BoundObjective.raise_error(self)
        self.inner.raise_error()


cdef int show(int64_t* fields, cnp.ndarray array) except -1:
    """Set a description of an array to another array of the same kind, of any length."""
    fields[NITEMS] = cnp.PyArray_SIZE(array)
    fields[DATA] = <int64_t><size_t>cnp.PyArray_DATA(array)
    fields[LENGTH] = cnp.PyArray_DIM(array, 0)
    return 0


cdef list find_targets(CompiledObjective inner, Py_ssize_t further):
    """Where the descriptions of a batch's arrays are: for each argument a tuple of addresses."""
    cdef size_t start = <size_t>inner.context + ARGUMENTS
    leaves = inner.wrapper.layout.leaves[:len(inner.args) - further]
    return [tuple([start + leaf.offset for leaf in (each if type(each) is tuple else (each,))])[:3]
            for each in leaves]
