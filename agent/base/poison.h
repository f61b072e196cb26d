/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Functions that have bitten everybody. Included by str.h, so it reaches every file. */
#include <string.h>
#include <stdio.h>
#include <stdlib.h>

#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol
