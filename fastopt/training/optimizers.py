"""First-order optimizers for training loops, in the order of their history.

Own the names, the order and the documentation of each rule's hyperparameters. The rest is
`Optimizer`'s.
"""

from __future__ import annotations

from typing import Any, Unpack

from numpy.typing import NDArray

from fastopt.core.validate import Flag
from fastopt.training.optimizer import Number, Optimizer, Settings, documented

__all__ = [
    "SGD",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Adan",
    "Lion",
    "Momentum",
    "Nadam",
    "Nesterov",
    "RAdam",
    "RMSProp",
]


@documented
class SGD(Optimizer):
    """Gradient descent; stochastic gradient descent, where the gradient is that of a sample.

    With g for the gradient::

        theta = theta - lr*g

    Parameters
    ----------
    {theta}
    lr : float, default 0.01
        Step length.
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.SGD(theta, lr=0.25)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "gd"

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        *,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {"lr": lr, "weight_decay": weight_decay}
        super().__init__(theta, numbers, settings)


@documented
class Momentum(Optimizer):
    """Gradient descent with momentum, the heavy ball.

    The recurrence, with g for the gradient::

        v = momentum*v + lr*g
        theta = theta - v

    Parameters
    ----------
    {theta}
    lr : float, default 0.01
        Step length.
    momentum : float, default 0.9
        The part of the velocity that is kept.
    dampening : float, default 0
        The part of the gradient that the velocity leaves out; ``flavor="torch"`` only.
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.Momentum(theta, lr=0.05)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "momentum"

    momentum = Number()
    dampening = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        momentum: float | None = None,
        *,
        dampening: float | None = None,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
        }
        super().__init__(theta, numbers, settings)


@documented
class Nesterov(Optimizer):
    """Nesterov's momentum: `theta` is the point ahead, where the gradient is taken.

    The recurrence, with g for the gradient::

        v = momentum*v + lr*g
        theta = theta - (momentum*v + lr*g)

    Parameters
    ----------
    {theta}
    lr : float, default 0.01
        Step length.
    momentum : float, default 0.9
        The part of the velocity that is kept.
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.Nesterov(theta, lr=0.05)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "nesterov"

    momentum = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        momentum: float | None = None,
        *,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(theta, numbers, settings)


@documented
class AdaGrad(Optimizer):
    """AdaGrad: each parameter's steps shorten with the gradients that it has had.

    The recurrence, with g for the gradient::

        G = G + g*g
        theta = theta - lr*g/sqrt(G + eps)

    Parameters
    ----------
    {theta}
    lr : float, default 0.01
        Step length.
    eps : float, default 1e-8
        Added to the sum of squares, under the root.
    initial_accumulator : float, default 0.1; 0 for torch
        What the sum of squares begins with; not in the textbook's form.
    lr_decay : float, default 0
        How fast `lr` falls, as 1/t; ``flavor="torch"`` only.
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.AdaGrad(theta, lr=1.0)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "adagrad"

    eps = Number()
    initial_accumulator = Number()
    lr_decay = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        eps: float | None = None,
        *,
        initial_accumulator: float | None = None,
        lr_decay: float | None = None,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {
            "lr": lr,
            "eps": eps,
            "initial_accumulator": initial_accumulator,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
        }
        super().__init__(theta, numbers, settings)


@documented
class AdaDelta(Optimizer):
    """AdaDelta: each parameter's steps are as long as its steps have been, and need no `lr`.

    The recurrence, with g for the gradient::

        E = decay*E + (1 - decay)*g*g
        d = sqrt(D + eps)/sqrt(E + eps)*g
        D = decay*D + (1 - decay)*d*d
        theta = theta - d

    Parameters
    ----------
    {theta}
    decay : float, default 0.9
        Decay rate of the mean squares of gradients and steps.
    eps : float, default 1e-6
        Added to both mean squares, under the roots.
    lr : float, default 1; 0.001 for Keras
        What multiplies the step; not in the textbook's form.
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.AdaDelta(theta, eps=1e-2)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "adadelta"

    decay = Number()
    eps = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        decay: float | None = None,
        eps: float | None = None,
        *,
        lr: float | None = None,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {"decay": decay, "eps": eps, "lr": lr, "weight_decay": weight_decay}
        super().__init__(theta, numbers, settings)


@documented
class RMSProp(Optimizer):
    """RMSProp: each parameter's gradient is divided by the root of its mean square.

    The recurrence, with g for the gradient::

        v = decay*v + (1 - decay)*g*g
        theta = theta - lr*g/sqrt(v + eps)

    Parameters
    ----------
    {theta}
    lr : float, default 0.001
        Step length.
    decay : float, default 0.9
        Decay rate of the mean square.
    eps : float, default 1e-8
        Added to the mean square, under the root.
    momentum : float, default 0
        The part of the velocity that is kept: Graves' form, which remembers one.
    centered : bool, default False
        Whether the gradient's variance takes the place of its mean square (Graves).
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.RMSProp(theta, lr=0.1)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "rmsprop"

    decay = Number()
    eps = Number()
    momentum = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        decay: float | None = None,
        eps: float | None = None,
        *,
        momentum: float | None = None,
        centered: bool = False,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {"lr": lr, "decay": decay, "eps": eps, "weight_decay": weight_decay}
        if Flag()("centered", centered, 1):
            super().__init__(theta, {**numbers, "momentum": momentum}, settings, "rmsprop-centered")
        elif momentum:
            super().__init__(theta, {**numbers, "momentum": momentum}, settings, "rmsprop-momentum")
        else:
            super().__init__(theta, numbers, settings)


@documented
class Adam(Optimizer):
    """Adam: momentum, and each parameter's steps scaled by its gradients' mean square.

    The recurrence, with g for the gradient::

        m = beta1*m + (1 - beta1)*g        m_hat = m/(1 - beta1**t)
        v = beta2*v + (1 - beta2)*g*g      v_hat = v/(1 - beta2**t)
        theta = theta - lr*m_hat/(sqrt(v_hat) + eps)

    Parameters
    ----------
    {theta}
    lr : float, default 0.001
        Step length.
    beta1 : float, default 0.9
        Decay rate of the mean of the gradient.
    beta2 : float, default 0.999
        Decay rate of the mean of its square.
    eps : float, default 1e-8
        Added to the root of the mean square.
    eps_root : float, default 0
        Added under the root; ``flavor="optax"`` only.
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.Adam(theta, lr=0.1)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "adam"

    beta1 = Number()
    beta2 = Number()
    eps = Number()
    eps_root = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        *,
        eps_root: float | None = None,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "eps_root": eps_root,
            "weight_decay": weight_decay,
        }
        super().__init__(theta, numbers, settings)


@documented
class Nadam(Optimizer):
    """Nadam: Adam with Nesterov's momentum.

    The recurrence, with g for the gradient::

        m = mu(t)*m + (1 - mu(t))*g
        v = beta2*v + (1 - beta2)*g*g      v_hat = v/(1 - beta2**t)
        n = (1 - mu(t))*g/(1 - M(t)) + mu(t + 1)*m/(1 - M(t + 1))
        theta = theta - lr*n/(sqrt(v_hat) + eps)

    Parameters
    ----------
    {theta}
    lr : float, default 0.001
        Step length.
    beta1 : float, default 0.9
        Decay rate of the mean of the gradient, and the limit of mu.
    beta2 : float, default 0.999
        Decay rate of the mean of its square.
    eps : float, default 1e-8
        Added to the root of the mean square.
    eps_root : float, default 0
        Added under the root; ``flavor="optax"`` only.
    momentum_decay : float, default 0.004
        How fast the momentum nears `beta1`; ``flavor="torch"`` only.
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.Nadam(theta, lr=0.1)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "nadam"

    beta1 = Number()
    beta2 = Number()
    eps = Number()
    eps_root = Number()
    momentum_decay = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        *,
        eps_root: float | None = None,
        momentum_decay: float | None = None,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "eps_root": eps_root,
            "momentum_decay": momentum_decay,
            "weight_decay": weight_decay,
        }
        super().__init__(theta, numbers, settings)


@documented
class AdamW(Optimizer):
    """AdamW: Adam, beside which the parameters decay.

    With g for the gradient, and m_hat and v_hat as in `Adam`::

        theta = theta - weight_decay*theta - lr*m_hat/(sqrt(v_hat) + eps)

    Parameters
    ----------
    {theta}
    lr : float, default 0.001
        Step length.
    beta1 : float, default 0.9
        Decay rate of the mean of the gradient.
    beta2 : float, default 0.999
        Decay rate of the mean of its square.
    eps : float, default 1e-8
        Added to the root of the mean square.
    weight_decay : float, default 0.01
        The part of each parameter that decays in a step, whatever `lr` is. A schedule multiplies it
        as it does `lr`. In the frameworks' forms `lr` times as much decays, so that their 0.01 is
        1e-5 here.
    eps_root : float, default 0
        Added under the root; ``flavor="optax"`` only.
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.AdamW(theta, lr=0.1)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "adamw"

    beta1 = Number()
    beta2 = Number()
    eps = Number()
    eps_root = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        weight_decay: float | None = None,
        *,
        eps_root: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "weight_decay": weight_decay,
            "eps_root": eps_root,
        }
        super().__init__(theta, numbers, settings)


@documented
class AMSGrad(Optimizer):
    """AMSGrad: Adam whose mean squares never fall.

    The recurrence, with g for the gradient::

        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*g*g
        w = max(w, v)
        theta = theta - lr*m/(sqrt(w) + eps)

    Parameters
    ----------
    {theta}
    lr : float, default 0.001
        Step length.
    beta1 : float, default 0.9
        Decay rate of the mean of the gradient.
    beta2 : float, default 0.999
        Decay rate of the mean of its square.
    eps : float, default 1e-8
        Added to the root of the largest mean square.
    eps_root : float, default 0
        Added under the root; ``flavor="optax"`` only.
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.AMSGrad(theta, lr=0.1)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "amsgrad"

    beta1 = Number()
    beta2 = Number()
    eps = Number()
    eps_root = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        *,
        eps_root: float | None = None,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "eps_root": eps_root,
            "weight_decay": weight_decay,
        }
        super().__init__(theta, numbers, settings)


@documented
class AdaMax(Optimizer):
    """AdaMax: Adam with the largest gradient of late in place of the mean square.

    The recurrence, with g for the gradient::

        m = beta1*m + (1 - beta1)*g        m_hat = m/(1 - beta1**t)
        u = max(beta2*u, abs(g))
        theta = theta - lr*m_hat/(u + eps)

    Parameters
    ----------
    {theta}
    lr : float, default 0.002
        Step length.
    beta1 : float, default 0.9
        Decay rate of the mean of the gradient.
    beta2 : float, default 0.999
        Decay rate of the largest magnitude.
    eps : float, default 1e-8
        Added to the largest magnitude.
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.AdaMax(theta, lr=0.1)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "adamax"

    beta1 = Number()
    beta2 = Number()
    eps = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        *,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(theta, numbers, settings)


@documented
class RAdam(Optimizer):
    """RAdam: Adam that waits until its mean squares say something.

    With g for the gradient, and m_hat and v_hat as in `Adam`::

        theta = theta - lr*m_hat                                   while rho(t) <= 4
        theta = theta - lr*r(t)*m_hat/(sqrt(v_hat) + eps)          afterwards

    Parameters
    ----------
    {theta}
    lr : float, default 0.001
        Step length.
    beta1 : float, default 0.9
        Decay rate of the mean of the gradient.
    beta2 : float, default 0.999
        Decay rate of the mean of its square.
    eps : float, default 1e-8
        Added to the root of the mean square.
    eps_root : float, default 0
        Added under the root; ``flavor="optax"`` only.
    threshold : float, default 5
        The rho from which the step is adaptive; ``flavor="optax"`` only.
    {weight_decay}
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.RAdam(theta, lr=0.1)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "radam"

    beta1 = Number()
    beta2 = Number()
    eps = Number()
    eps_root = Number()
    threshold = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        eps: float | None = None,
        *,
        eps_root: float | None = None,
        threshold: float | None = None,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "eps_root": eps_root,
            "threshold": threshold,
            "weight_decay": weight_decay,
        }
        super().__init__(theta, numbers, settings)


@documented
class Lion(Optimizer):
    """Lion: every parameter moves by `lr`, in the direction of a sign.

    The recurrence, with g for the gradient::

        theta = theta - lr*(sign(beta1*m + (1 - beta1)*g) + weight_decay*theta)
        m = beta2*m + (1 - beta2)*g

    Parameters
    ----------
    {theta}
    lr : float, default 1e-4
        Step length.
    beta1 : float, default 0.9
        The part of the mean in what decides the direction.
    beta2 : float, default 0.99
        Decay rate of the mean of the gradient.
    weight_decay : float, default 0
        What decays of each parameter in a step, divided by `lr`.
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.Lion(theta, lr=0.02)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "lion"

    beta1 = Number()
    beta2 = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        weight_decay: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {"lr": lr, "beta1": beta1, "beta2": beta2, "weight_decay": weight_decay}
        super().__init__(theta, numbers, settings)


@documented
class Adan(Optimizer):
    """Adan: Adam that takes account of how the gradient changes.

    The recurrence, with g for the gradient::

        d = g - g_previous
        m = beta1*m + (1 - beta1)*g
        v = beta2*v + (1 - beta2)*d
        n = beta3*n + (1 - beta3)*(g + beta2*d)**2
        theta = (theta - lr*(m + beta2*v)/(sqrt(n) + eps))/(1 + lr*weight_decay)

    Parameters
    ----------
    {theta}
    lr : float, default 0.001
        Step length.
    beta1 : float, default 0.98
        Decay rate of the mean of the gradient.
    beta2 : float, default 0.92
        Decay rate of the mean of its change.
    beta3 : float, default 0.99
        Decay rate of the mean square.
    eps : float, default 1e-8
        Added to the root of the mean square.
    weight_decay : float, default 0
        What decays of each parameter in a step, divided by `lr`.
    eps_root : float, default 1e-8
        Added under the root; ``flavor="optax"`` only.
    {settings}

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta = np.array([1.0, -2.0])
    >>> opt = fastopt.Adan(theta, lr=0.02)
    >>> for _ in range(300):
    ...     opt.step(2 * theta)         # the gradient of theta @ theta
    >>> bool(theta @ theta < 0.01)
    True
    """

    __slots__ = ()
    rule = "adan"

    beta1 = Number()
    beta2 = Number()
    beta3 = Number()
    eps = Number()
    eps_root = Number()

    def __init__(
        self,
        theta: NDArray[Any],
        lr: float | None = None,
        beta1: float | None = None,
        beta2: float | None = None,
        beta3: float | None = None,
        eps: float | None = None,
        weight_decay: float | None = None,
        *,
        eps_root: float | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        numbers = {
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "beta3": beta3,
            "eps": eps,
            "weight_decay": weight_decay,
            "eps_root": eps_root,
        }
        super().__init__(theta, numbers, settings)
