<?php

declare(strict_types=1);

namespace Wsgate\Exception;

/** A call of the control interface failed; the subclass says how far it got. */
abstract class GatewayException extends \RuntimeException implements WsgateException
{
}
