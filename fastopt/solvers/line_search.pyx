"""Line searches for the Wolfe conditions.

Own the choice of the step along a direction. Know nothing of vectors, objectives or solvers: the
function they see has one variable. phi(a) = f(x + a d); `start` is phi(0), its slope negative.

* Hager & Zhang (SIAM J. Optim. 16, 2005; ACM TOMS 32, 2006): the bracket is kept by the signs of
  slopes, and where the values cannot tell two points apart, slopes decide ("approximate Wolfe").
  Unlike theirs, a step inside the bracket is the cubic's minimiser where the values are to be
  trusted, and the secant's only where they are not; and the approximate test is open only there.
* Moré & Thuente (ACM TOMS 20, 1994): strong Wolfe conditions, within a maximum step.

    paper                          here
    -----                          ----
    delta / mu, sigma / eta        c1, c2
    epsilon                        resolution
    [a, b], [alpha_l, alpha_u]     Bracket.low, Bracket.high; Interval.best, Interval.other
"""

from libc.math cimport INFINITY, fabs, isfinite, sqrt

from fastopt.core.abi cimport REPLY_DONE, REPLY_RAISED, REPLY_STOP
from fastopt.core.check cimport check

# Differences of f keep this many ulps of f at least, or a cubic through them means nothing.
cdef double TRUSTED_DIFFERENCE = 1e-12
# Steps inside a bracket keep this share of its width from both ends.
cdef double MARGIN = 0.0001
# A bracket that shrinks less than this by interpolation is bisected (Hager & Zhang's gamma).
cdef double SHRINKAGE = 0.66
# While the slope stays steep the step grows by its last change times a factor between these:
# Moré & Thuente's, but for the larger one, theirs being 4; 10 costs fewer evaluations.
cdef double LEAST_GROWTH = 1.1
cdef double MOST_GROWTH = 10.0
# Below this a function has no bottom in double precision.
cdef double BOTTOM = -1e300


cdef struct Walk:
    line_fn line
    void* context
    const SearchSettings* settings
    Search* search
    double tolerance              # how much above the start a value may lie and count as equal


cdef struct Bracket:
    Sample low                    # slope < 0, value no higher than the start's within tolerance
    Sample high                   # slope >= 0 or value higher: a minimum lies between


cdef Outcome search_line(line_fn line, void* context, const SearchSettings* settings,
                         double first_step, Search* search) noexcept nogil:
    """Search from `search.start`; what it found, and how, is left in `search`."""
    cdef Walk walk
    walk.line = line
    walk.context = context
    walk.settings = settings
    walk.search = search
    walk.tolerance = settings.resolution * fabs(search.start.value)
    search.evaluations = 0
    search.not_finite = 0
    search.ceiling = INFINITY
    search.last.finite = False        # there is none yet
    first_step = min(first_step, settings.max_step)
    if settings.kind == MORE_THUENTE:
        return search_more_thuente(&walk, first_step)
    return search_hager_zhang(&walk, first_step)


cdef Outcome probe(Walk* walk, double step) noexcept nogil:
    """Evaluate at `step`, into `search.last`."""
    cdef Search* search = walk.search
    cdef Sample* sample = &search.last
    cdef int reply
    check(0 <= step <= walk.settings.max_step)
    if search.evaluations >= walk.settings.max_evaluations:
        return NO_STEP
    reply = walk.line(step, sample, walk.context)
    sample.step = step
    if reply == REPLY_RAISED:
        return SEARCH_RAISED
    if reply == REPLY_STOP:
        return SEARCH_STOPPED
    search.evaluations += 1
    if not sample.finite:
        search.not_finite += 1
        search.ceiling = min(search.ceiling, step)
        return BOTTOMLESS if sample.value == -INFINITY else OPEN
    if sample.value <= BOTTOM:
        return BOTTOMLESS
    return OPEN


# --- Hager-Zhang -----------------------------------------------------------------------------

cdef Outcome search_hager_zhang(Walk* walk, double first_step) noexcept nogil:
    """The first step usually is acceptable: no bracket is set up before it has been tried."""
    cdef Bracket bracket
    cdef Outcome outcome = try_step(walk, first_step)
    if outcome == OPEN:
        outcome = find_bracket(walk, &bracket)
    if outcome == OPEN:
        outcome = shrink_bracket(walk, &bracket)
    return outcome


cdef Outcome try_step(Walk* walk, double step) noexcept nogil:
    cdef Outcome outcome = probe(walk, step)
    if outcome == OPEN and satisfies_wolfe(walk, &walk.search.last):
        return ACCEPTED
    return outcome


cdef bint satisfies_wolfe(const Walk* walk, const Sample* sample) noexcept nogil:
    """Wolfe's conditions, or the approximate ones where the values are below their resolution."""
    cdef const Sample* start = &walk.search.start
    cdef double c1 = walk.settings.c1
    if not sample.finite or sample.slope < walk.settings.c2 * start.slope:
        return False
    if sample.value <= lowered_start(walk, sample.step):
        return True
    return drowns(walk, sample) and sample.slope <= (2 * c1 - 1) * start.slope


cdef bint drowns(const Walk* walk, const Sample* sample) noexcept nogil:
    """Whether what the slope promises of a step is below the resolution of the values."""
    cdef const Sample* start = &walk.search.start
    return (-sample.step * start.slope <= walk.tolerance
            and sample.value <= start.value + walk.tolerance)


cdef double lowered_start(const Walk* walk, double step) noexcept nogil:
    """What a value has to be at most to count as a sufficient decrease."""
    return walk.search.start.value + walk.settings.c1 * step * walk.search.start.slope


cdef Outcome find_bracket(Walk* walk, Bracket* bracket) noexcept nogil:
    """Grow the step until it is acceptable or a minimum lies behind it (their B0-B3)."""
    cdef const Sample* trial = &walk.search.last
    cdef Sample previous
    cdef Outcome outcome
    cdef double step
    bracket.low = walk.search.start
    while True:
        if not trial.finite:
            step = retreat(walk, bracket.low.step)
        elif is_behind(walk, trial):
            bracket.high = trial[0]
            return OPEN
        elif trial.step >= walk.settings.max_step:
            if trial.value <= lowered_start(walk, trial.step) or drowns(walk, trial):
                return ACCEPTED           # downhill all the way to the largest step allowed
            bracket.high = trial[0]
            return OPEN
        else:
            previous = bracket.low
            bracket.low = trial[0]
            step = min(extrapolate(&previous, trial), walk.settings.max_step)
            if step >= walk.search.ceiling:
                step = trial.step + 0.5 * (walk.search.ceiling - trial.step)
        if step == bracket.low.step:
            return NO_STEP
        outcome = try_step(walk, step)
        if outcome != OPEN:
            return outcome


cdef bint is_behind(const Walk* walk, const Sample* sample) noexcept nogil:
    return sample.slope >= 0 or sample.value > walk.search.start.value + walk.tolerance


cdef double retreat(const Walk* walk, double last_finite) noexcept nogil:
    """From outside the domain, half way back at first, then nearly all of it."""
    cdef double share = 0.5 if walk.search.not_finite <= 1 else 0.1
    return last_finite + share * (walk.search.ceiling - last_finite)


cdef double extrapolate(const Sample* previous, const Sample* sample) noexcept nogil:
    """Where the secant of the slopes meets zero, within the factors of growth."""
    cdef double width = sample.step - previous.step
    cdef double bend = sample.slope - previous.slope
    cdef double step = INFINITY
    if bend > 0:
        step = sample.step - sample.slope * width / bend
    return min(max(step, sample.step + LEAST_GROWTH * width), sample.step + MOST_GROWTH * width)


cdef Outcome shrink_bracket(Walk* walk, Bracket* bracket) noexcept nogil:
    """Shrink the bracket until a step in it is acceptable (their U0-U3, L1-L3)."""
    cdef Sample* trial = &walk.search.last
    cdef Outcome outcome
    cdef double width
    cdef bint bisect = False
    while True:
        width = bracket.high.step - bracket.low.step
        check(width >= 0 and bracket.low.slope < 0)
        if not width > 4e-16 * bracket.high.step:
            return NO_STEP
        if bisect:
            outcome = try_step(walk, bracket.low.step + 0.5 * width)
        else:
            outcome = try_step(walk, interpolate(&bracket.low, &bracket.high))
        if outcome != OPEN:
            return outcome
        if not trial.finite or is_behind(walk, trial):
            bracket.high = trial[0]
        else:
            bracket.low = trial[0]
        bisect = bracket.high.step - bracket.low.step > SHRINKAGE * width


cdef double interpolate(const Sample* low, const Sample* high) noexcept nogil:
    """A step inside the bracket: minimiser of a cubic, of a parabola, or zero of a secant."""
    cdef double width = high.step - low.step
    cdef double share = 0.5               # of the width, from `low`
    cdef double rise, parabola
    if high.finite:
        rise = high.value - low.value
        if fabs(rise) > TRUSTED_DIFFERENCE * max(fabs(high.value), fabs(low.value)):
            share = cubic_share(low, high)
            if rise > 0:
                # Up a wall the cubic stays too far; the parabola without the slope there does not.
                parabola = -0.5 * low.slope * width / (rise - low.slope * width)
                if not 0 < share <= parabola:
                    share = 0.5 * (min(max(share, 0.0), 1.0) + parabola)
        elif high.slope > 0:
            share = -low.slope / (high.slope - low.slope)
    if not isfinite(share):
        share = 0.5
    return low.step + min(max(share, MARGIN), 1 - MARGIN) * width


# --- Moré-Thuente ----------------------------------------------------------------------------

cdef struct Interval:
    Sample best                   # lowest value so far (of psi in the first stage, of phi later)
    Sample other
    bint bracketed


cdef Outcome search_more_thuente(Walk* walk, double step) noexcept nogil:
    """Algorithm of section 4, with the modified updating of section 3 in the first stage."""
    cdef Search* search = walk.search
    cdef const SearchSettings* settings = walk.settings
    cdef Sample* trial = &search.last
    cdef Sample modified
    cdef Interval interval
    cdef Outcome outcome
    cdef double floor = settings.c1 * search.start.slope    # slope of the sufficient decrease
    cdef double width = INFINITY, width_before = INFINITY
    cdef double line, longest, least, most
    cdef bint first_stage = True
    interval.best = interval.other = search.start
    interval.bracketed = False
    while True:
        outcome = probe(walk, step)
        if outcome != OPEN:
            return outcome
        if not trial.finite:
            step = retreat(walk, interval.best.step)
            if step == interval.best.step:
                return NO_STEP
            continue
        line = search.start.value + step * floor
        if trial.value <= line and fabs(trial.slope) <= -settings.c2 * search.start.slope:
            return ACCEPTED
        if step >= settings.max_step and trial.value <= line and trial.slope <= floor:
            return ACCEPTED               # downhill all the way to the largest step allowed
        longest = trial.step + MOST_GROWTH * (trial.step - interval.best.step)
        if first_stage and trial.value <= line and trial.slope >= 0:
            first_stage = False
        if first_stage and line < trial.value <= interval.best.value:
            # psi(a) = phi(a) - phi(0) - c1 a phi'(0) decides until it has a negative value.
            tilt(&interval.best, floor, -1)
            tilt(&interval.other, floor, -1)
            modified = trial[0]
            tilt(&modified, floor, -1)
            step = update_interval(&interval, &modified, longest)
            tilt(&interval.best, floor, 1)
            tilt(&interval.other, floor, 1)
        else:
            step = update_interval(&interval, trial, longest)
        if interval.bracketed:
            least = min(interval.best.step, interval.other.step)
            most = max(interval.best.step, interval.other.step)
            if not most - least > 4e-16 * most:
                return NO_STEP
            if most - least >= SHRINKAGE * width_before or not least < step < most:
                step = least + 0.5 * (most - least)
            width_before = width
            width = most - least
        step = min(step, settings.max_step)
        if step >= search.ceiling:
            step = interval.best.step + 0.5 * (search.ceiling - interval.best.step)
        if not fabs(step - interval.best.step) > 0:
            return NO_STEP                # or NaN, from values that differ by nothing


cdef void tilt(Sample* sample, double slope, int sign) noexcept nogil:
    """Add (sign 1) or take away (sign -1) the line of that slope."""
    sample.value += sign * slope * sample.step
    sample.slope += sign * slope


cdef double update_interval(Interval* interval, const Sample* trial,
                            double longest) noexcept nogil:
    """Their four cases: the next step from the best point and the trial; then the new interval.

    While nothing is bracketed the next step is at most `longest`.
    """
    cdef Sample best = interval.best
    cdef Sample other = interval.other
    cdef double gap = trial.step - best.step
    cdef double cubic, secant, parabola, step, share
    cdef bint turned = trial.slope * best.slope < 0
    secant = trial.step - trial.slope / (trial.slope - best.slope) * gap
    if trial.value > best.value:
        # Case 1: higher; the minimum is bracketed.
        cubic = best.step + cubic_share(&best, trial) * gap
        parabola = best.step + 0.5 * best.slope * gap / (
            (best.value - trial.value) / gap + best.slope)
        step = cubic
        if fabs(cubic - best.step) >= fabs(parabola - best.step):
            step += 0.5 * (parabola - cubic)
        interval.bracketed = True
    elif turned:
        # Case 2: lower, and the slope has turned; the minimum is bracketed.
        cubic = trial.step - cubic_share(trial, &best) * gap
        step = cubic if fabs(cubic - trial.step) > fabs(secant - trial.step) else secant
        interval.bracketed = True
    elif fabs(trial.slope) < fabs(best.slope):
        # Case 3: lower and flatter; the cubic counts if its minimum lies beyond the trial.
        share = cubic_share(trial, &best)
        cubic = trial.step - share * gap if share < 0 else (INFINITY if gap > 0 else -INFINITY)
        if interval.bracketed:
            step = cubic if fabs(cubic - trial.step) < fabs(secant - trial.step) else secant
            parabola = trial.step + SHRINKAGE * (other.step - trial.step)
            step = min(parabola, step) if gap > 0 else max(parabola, step)
        else:
            step = cubic if fabs(cubic - trial.step) > fabs(secant - trial.step) else secant
            step = min(max(step, trial.step + LEAST_GROWTH * gap), longest)
    elif interval.bracketed:
        # Case 4: lower and no flatter; the minimum lies towards the other end.
        step = trial.step + cubic_share(trial, &other) * (other.step - trial.step)
    else:
        step = longest
    if trial.value > best.value:
        interval.other = trial[0]
    else:
        if turned:
            interval.other = best
        interval.best = trial[0]
    return step


cdef double cubic_share(const Sample* near, const Sample* far) noexcept nogil:
    """Where the cubic through both has its minimum, as a share of the way from `near` to `far`.

    Negative: behind `near`. The square root is cut off at zero, its argument scaled.
    """
    cdef double gap = far.step - near.step
    cdef double theta = near.slope + far.slope - 3 * (far.value - near.value) / gap
    cdef double scale = max(fabs(theta), max(fabs(near.slope), fabs(far.slope)))
    cdef double squared = (theta / scale) ** 2 - (near.slope / scale) * (far.slope / scale)
    cdef double root = scale * sqrt(max(0.0, squared))
    if gap < 0:
        root = -root
    return (root - near.slope + theta) / (2 * root - near.slope + far.slope)


# --- For tests, and for those who want to watch a search ---------------------------------------

cdef int call_watched(double step, Sample* sample, void* context) noexcept with gil:
    cdef list box = <list>context
    try:
        value, slope = box[0](step)
        sample.value = value
        sample.slope = slope
        sample.finite = isfinite(sample.value) and isfinite(sample.slope)
        return REPLY_DONE
    except BaseException as error:
        box[1] = error
        return REPLY_RAISED


OUTCOMES = {ACCEPTED: "accepted", NO_STEP: "no step", BOTTOMLESS: "bottomless"}


def search(function, double value, double slope, double first_step=1.0, *,
           kind="hager-zhang", double c1=1e-4, double c2=0.9, double max_step=INFINITY,
           double resolution=1e-6, Py_ssize_t max_evaluations=50):
    """Search for a step along a line.

    Parameters
    ----------
    function : callable
        ``function(step) -> (value, slope)``.
    value, slope : float
        What it gives at 0; the slope is negative.
    first_step : float
        The first step to try.
    kind : {"hager-zhang", "more-thuente"}
        Which search.
    c1, c2 : float
        Constants of the Wolfe conditions, 0 < c1 < c2 < 1.
    max_step : float
        The largest step allowed.
    resolution : float
        Values closer than this, relative to the one at 0, cannot be ranked.
    max_evaluations : int
        How often `function` may be called.

    Returns
    -------
    outcome : {"accepted", "no step", "bottomless"}
    step, value, slope : float
        The last evaluation; the start if there was none.
    evaluations : int

    Examples
    --------
    >>> from fastopt.solvers.line_search import search
    >>> search(lambda a: ((a - 3) ** 2, 2 * (a - 3)), 9.0, -6.0)
    ('accepted', 1.0, 4.0, -4.0, 1)
    """
    cdef SearchSettings settings
    cdef Search found
    cdef list box = [function, None]
    settings.kind = MORE_THUENTE if kind == "more-thuente" else HAGER_ZHANG
    settings.c1 = c1
    settings.c2 = c2
    settings.max_step = max_step
    settings.resolution = resolution
    settings.max_evaluations = max_evaluations
    found.start.step = 0
    found.start.value = value
    found.start.slope = slope
    found.start.finite = True
    found.last = found.start
    cdef Outcome outcome = search_line(call_watched, <void*>box, &settings, first_step, &found)
    if outcome == SEARCH_RAISED:
        raise box[1]
    return (OUTCOMES[outcome], found.last.step, found.last.value, found.last.slope,
            found.evaluations)
