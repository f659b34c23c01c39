<?php

declare(strict_types=1);

namespace Wsgate\Exception;

/** A name, a header's value or a message that wsgate would not take; nothing was sent. */
final class InvalidValue extends \InvalidArgumentException implements WsgateException
{
}
