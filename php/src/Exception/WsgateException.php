<?php

declare(strict_types=1);

namespace Wsgate\Exception;

/** Everything that this package throws. */
interface WsgateException extends \Throwable
{
}
